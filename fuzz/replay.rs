//! Runs a fuzz target over its corpus in an ordinary test.

use std::path::Path;

/// Runs `target` over every file of `fuzz/corpus/<name>`. The output of a failing test ends with the name of the file.
pub fn replay(name: &str, target: fn(&[u8])) {
    // The manifest of a crate is one or two folders below the root.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = manifest.ancestors().map(|folder| folder.join("fuzz/corpus").join(name));
    let folder = folders.into_iter().find(|folder| folder.is_dir()).expect("fuzz/corpus has a folder for every target");
    let mut files: Vec<_> = folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        println!("{}", file.display());
        target(&std::fs::read(&file).expect("a readable file"));
    }
}
