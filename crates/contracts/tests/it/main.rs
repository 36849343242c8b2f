//! Compares the wire formats with files, so that a reviewer sees every change.
//!
//! `UPDATE_GOLDEN=1 cargo test --release -p contracts` rewrites the files after an intended change.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod documents;
mod golden;
mod transcript;

use std::path::Path;

/// Fails if the file differs from `actual`. With `UPDATE_GOLDEN` set, writes the file first.
fn assert_file(path: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, actual, "{} is out of date; UPDATE_GOLDEN=1 rewrites it", path.display());
}
