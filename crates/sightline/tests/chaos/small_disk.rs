//! A file system of a test that is small enough to fill.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it, or prints that the test is skipped where mounting is not allowed.
    pub fn mount(test: &str, folder: &Path) -> Option<Self> {
        std::fs::create_dir(folder).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(folder).output();
        if mount.is_ok_and(|done| done.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        println!("skipped: {test}: this user may not mount a file system");
        None
    }

    /// Fills the file system, also what became free since the last time.
    pub fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        for size in [1 << 20, 4096, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Frees what [`fill`](Self::fill) took.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a killed process may not have closed its files yet.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
