//! A video file: its identity and its time.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::source::SourceConfig;
use crate::video::{Input, Watch};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// A regular file that was read once.
#[derive(Debug)]
pub struct Recording {
    hash: [u8; 32],
    captured_at: Option<Timestamp>,
    modified: Option<Timestamp>,
}

impl Recording {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is no regular file, because a pipe or device may have no end; when it is empty, or cannot be read; after the stop.
    pub fn open(path: &Path, source: &SourceConfig, watch: &Watch) -> anyhow::Result<Self> {
        // Before it is opened, because opening a pipe waits for its writer.
        let metadata = std::fs::metadata(path).context("the file cannot be read")?;
        ensure!(metadata.is_file(), "it is not a regular file");
        ensure!(metadata.len() > 0, "it is empty");
        let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let hash = hash(path, watch).context("the file cannot be read")?;
        Ok(Self { hash, captured_at: source.captured_at, modified })
    }

    /// When the recording began: as the user says, as the file says, or when the file was written less its length.
    pub fn begins(&self, input: &Input) -> Option<Timestamp> {
        let written = || {
            let length = input.length().unwrap_or(SignedDuration::ZERO);
            self.modified?.checked_sub(length).ok()
        };
        self.captured_at.or_else(|| input.creation_time()).or_else(written)
    }

    /// The idempotency key of a frame. The same file sent again makes the same frames; with other settings it makes others.
    pub fn key(&self, source: &SourceConfig, captured_at: Timestamp) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.hash);
        // Names have no NUL.
        for part in [source.stream.as_str(), &captured_at.as_microsecond().to_string()] {
            hasher.update(part);
            hasher.update([0]);
        }
        for detector in &source.detectors {
            hasher.update(detector.as_str());
            hasher.update([0]);
        }
        if let Some(size) = source.resize {
            hasher.update(String::from(size));
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reading a recording of many gigabytes takes minutes, in which its thread must show that it lives.
fn hash(path: &Path, watch: &Watch) -> anyhow::Result<[u8; 32]> {
    let (mut file, mut hasher, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; CHUNK]);
    loop {
        watch.tick();
        ensure!(!watch.is_stopped(), "stopped");
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&chunk[..length]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn watch() -> Watch {
        Watch::new(CancellationToken::new())
    }

    fn source(text: &str) -> SourceConfig {
        serde_yaml_ng::from_str(text).unwrap()
    }

    #[test]
    fn the_key_of_a_frame_follows_from_file_stream_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let (first, copy, other) = (path("a.mp4", "one"), path("b.mp4", "one"), path("c.mp4", "two"));
        let gate = source("{stream: gate, url: a.mp4}");
        let key = |path: &Path, source: &SourceConfig, second: i64| {
            Recording::open(path, source, &watch()).unwrap().key(source, Timestamp::from_second(second).unwrap())
        };
        let expected = key(&first, &gate, 5);
        assert_eq!(key(&copy, &gate, 5), expected, "a copy is the same recording");
        let different = [
            key(&other, &gate, 5),
            key(&first, &gate, 6),
            key(&first, &source("{stream: yard, url: a.mp4}"), 5),
            key(&first, &source("{stream: gate, url: a.mp4, detectors: [face]}"), 5),
            key(&first, &source("{stream: gate, url: a.mp4, resize: 640x360}"), 5),
        ];
        assert!(!different.contains(&expected));
    }

    #[test]
    fn pipes_folders_and_empty_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let gate = source("{stream: gate, url: a.mp4}");
        let error = |path: &Path| Recording::open(path, &gate, &watch()).unwrap_err().to_string();
        assert_eq!(error(folder.path()), "it is not a regular file");
        assert_eq!(error(Path::new("/dev/zero")), "it is not a regular file");
        let empty = folder.path().join("empty.mp4");
        std::fs::write(&empty, []).unwrap();
        assert_eq!(error(&empty), "it is empty");
    }

    #[test]
    fn a_large_recording_shows_that_it_is_read_and_can_be_stopped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(20 * CHUNK as u64).unwrap();
        let stop = CancellationToken::new();
        let watch = Watch::new(stop.clone());
        std::thread::sleep(Duration::from_millis(500));
        assert!(watch.silence() >= Duration::from_millis(500));
        let gate = source("{stream: gate, url: a.mp4}");
        Recording::open(file.path(), &gate, &watch).unwrap();
        assert!(watch.silence() < Duration::from_millis(500));
        stop.cancel();
        assert!(Recording::open(file.path(), &gate, &watch).is_err());
    }
}
