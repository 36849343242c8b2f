//! A recording on this machine: its name, its length and its checksum.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

/// Bytes that are read at once.
const BLOCK: usize = 256 << 10;

/// A file to upload.
#[derive(Debug)]
pub struct Recording {
    /// Where it is.
    pub path: PathBuf,
    /// Its name without its folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

impl Recording {
    /// Reads the whole file once, because its checksum tells whether the server has it already. Blocking.
    ///
    /// # Errors
    /// When it cannot be read, is no file, or is empty.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let unreadable = || format!("{} cannot be read", path.display());
        let mut file = File::open(path).with_context(unreadable)?;
        ensure!(file.metadata().with_context(unreadable)?.is_file(), "{} is no file", path.display());
        let (mut hash, mut bytes, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
        loop {
            let read = file.read(&mut block).with_context(unreadable)?;
            if read == 0 {
                break;
            }
            hash.update(&block[..read]);
            bytes += read as u64;
        }
        ensure!(bytes > 0, "{} is empty", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: path.to_owned(), name, bytes, sha256 })
    }

    /// The media type that the ending of the name stands for. The server decides by the content.
    pub fn media_type(&self) -> &'static str {
        let ending = Path::new(&self.name).extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match ending.as_str() {
            "mp3" => "audio/mpeg",
            "m4a" | "m4b" | "mp4" => "audio/mp4",
            "flac" => "audio/flac",
            "wav" => "audio/wav",
            "ogg" | "oga" => "audio/ogg",
            "aac" => "audio/aac",
            _ => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_has_a_name_a_length_and_a_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Emma.M4B");
        std::fs::write(&path, b"abc").unwrap();
        let recording = Recording::read(&path).unwrap();
        assert_eq!((recording.name.as_str(), recording.bytes, recording.media_type()), ("Emma.M4B", 3, "audio/mp4"));
        assert_eq!(recording.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_is_no_recording_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.mp3");
        std::fs::write(&empty, []).unwrap();
        for (path, reason) in [(empty, "is empty"), (folder.path().to_owned(), "is no file")] {
            let error = format!("{:#}", Recording::read(&path).unwrap_err());
            assert!(error.contains(path.to_str().unwrap()) && error.contains(reason), "{error}");
        }
        let missing = format!("{:#}", Recording::read(&folder.path().join("missing.mp3")).unwrap_err());
        assert!(missing.contains("missing.mp3 cannot be read"), "{missing}");
    }
}
