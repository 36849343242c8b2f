//! What is known of a file that is being transcribed, so that a run that was interrupted goes on: its plan, and the words of its windows.
//!
//! Each file has a folder, named by the hash of its bytes. A checkpoint is named by the hash of everything that its words depend on, and it
//! is there as a whole or not at all. One that cannot be read is made again.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use contracts::TranscriptSegment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::recording::Plan;

/// Part of the name of a plan: a change of how speech is found makes plans anew.
const PLAN_VERSION: u32 = 1;

/// The folder of one file.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    folder: PathBuf,
}

/// The words of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WindowWords {
    /// The language that was heard.
    pub language: Option<String>,
    /// With times from the start of the window: the same sound may come twice in a recording.
    pub segments: Vec<TranscriptSegment>,
}

impl Checkpoints {
    /// The folder of a file in `base`. Reads the whole file.
    ///
    /// # Errors
    /// When the file cannot be read, or the folder cannot be made.
    pub fn of(file: &Path, base: &Path) -> anyhow::Result<Self> {
        let hash = hash_of(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let folder = base.join(hex(&hash[..16]));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{} cannot be made; name another folder with --checkpoints", folder.display()))?;
        Ok(Self { folder })
    }

    /// The plan, if there is one.
    pub fn plan(&self) -> Option<Plan> {
        read(&self.plan_path())
    }

    /// Stores the plan.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_plan(&self, plan: &Plan) -> anyhow::Result<()> {
        self.write(&self.plan_path(), plan)
    }

    /// The words of the window with this key, if they are there.
    pub fn words(&self, key: &[u8; 32]) -> Option<WindowWords> {
        read(&self.words_path(key))
    }

    /// Stores the words of the window with this key.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_words(&self, key: &[u8; 32], words: &WindowWords) -> anyhow::Result<()> {
        self.write(&self.words_path(key), words)
    }

    /// Removes everything: the transcript is written.
    pub fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "the checkpoints of a complete transcript are still there");
        }
    }

    fn plan_path(&self) -> PathBuf {
        self.folder.join(format!("plan-v{PLAN_VERSION}.json"))
    }

    fn words_path(&self, key: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}.json", hex(key)))
    }

    /// A rename makes it appear, after its bytes are on the disk.
    fn write(&self, path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
        let written = || -> io::Result<()> {
            // Another run of the same file that has ended has removed it.
            std::fs::create_dir_all(&self.folder)?;
            let mut file = NamedTempFile::new_in(&self.folder)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            file.as_file().sync_data()?;
            file.persist(path)?;
            Ok(())
        };
        written().with_context(|| format!("{} cannot be written; free some space", path.display()))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn hash_of(file: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut hash, mut block) = (std::fs::File::open(file)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&block[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string succeeds.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_checkpoint_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("book.mp3");
        std::fs::write(&file, b"the bytes of a book").unwrap();
        let checkpoints = Checkpoints::of(&file, folder.path()).unwrap();
        let (key, words) = ([7; 32], WindowWords { language: Some("en".to_owned()), segments: Vec::new() });
        assert_eq!(checkpoints.words(&key), None);
        checkpoints.put_words(&key, &words).unwrap();
        checkpoints.put_plan(&Plan { samples: 16_000, windows: vec![(0, 16_000)] }).unwrap();

        let again = Checkpoints::of(&file, folder.path()).unwrap();
        assert_eq!(again.words(&key), Some(words));
        assert_eq!(again.plan().unwrap().windows, [(0, 16_000)]);
        std::fs::write(again.words_path(&key), b"{\"language\"").unwrap();
        assert_eq!(again.words(&key), None);

        std::fs::write(&file, b"the bytes of another book").unwrap();
        assert_eq!(Checkpoints::of(&file, folder.path()).unwrap().plan(), None);
        again.remove();
        assert!(!again.folder.exists());
    }

    #[test]
    fn the_end_of_one_run_does_not_end_another_of_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("book.mp3");
        std::fs::write(&file, b"the bytes of a book").unwrap();
        let (one, other) =
            (Checkpoints::of(&file, folder.path()).unwrap(), Checkpoints::of(&file, folder.path()).unwrap());
        one.remove();
        let (key, words) = ([7; 32], WindowWords { language: None, segments: Vec::new() });
        other.put_words(&key, &words).unwrap();
        assert_eq!(other.words(&key), Some(words));
    }
}
