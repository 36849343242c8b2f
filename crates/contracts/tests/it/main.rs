//! The wire formats, held against files that a reviewer sees.
//!
//! `UPDATE_GOLDEN=1 cargo test --release -p contracts` rewrites the files after a wanted change.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod documents;
mod golden;

use std::path::Path;

/// Fails where the file says something else than `actual`; with `UPDATE_GOLDEN` set, writes it.
fn assert_file(path: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, actual, "{} is out of step; UPDATE_GOLDEN=1 rewrites it", path.display());
}
