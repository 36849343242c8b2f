//! A video file: its identity and its time.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::source::SourceConfig;
use crate::video::{Failure, Input, Watch};
use crate::whole::expected_length;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// A file that was written to within this time may still be written: reading it begins later.
const REST: Duration = Duration::from_secs(1);
/// Pause between two looks at whether it is still the same.
const LOOK: Duration = Duration::from_secs(1);
/// The keys of its frames follow from its content, so those of half a file are of no use.
const CHANGED: &str = "it changed while it was read: something still writes it; send it again when it is complete";

/// A regular file that was read once.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    version: Version,
    looked: Instant,
    hash: [u8; 32],
    captured_at: Option<Timestamp>,
    modified: Option<Timestamp>,
}

/// What changes when a file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    length: u64,
    modified: Option<SystemTime>,
}

impl Version {
    fn of(path: &Path) -> anyhow::Result<Self> {
        // Before it is opened, because opening a pipe waits for its writer.
        let metadata = std::fs::metadata(path).context("the file cannot be read")?;
        ensure!(metadata.is_file(), "it is not a regular file");
        ensure!(metadata.len() > 0, "it is empty");
        Ok(Self { length: metadata.len(), modified: metadata.modified().ok() })
    }

    /// Whether it was written just now. A time in the future is that of another clock.
    fn is_fresh(&self) -> bool {
        self.modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age < REST)
    }
}

impl Recording {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is no regular file, because a pipe or device may have no end; when it is empty, cannot be read, or changes meanwhile; after
    /// the stop.
    pub fn open(path: &Path, source: &SourceConfig, watch: &Watch) -> anyhow::Result<Self> {
        let version = Version::of(path)?;
        while version.is_fresh() {
            watch.tick();
            ensure!(!watch.is_stopped(), "stopped");
            std::thread::sleep(REST / 10);
        }
        let modified = version.modified.and_then(|time| Timestamp::try_from(time).ok());
        let hash = hash(path, watch).context("the file cannot be read")?;
        let path = path.to_owned();
        let recording = Self { path, version, looked: Instant::now(), hash, captured_at: source.captured_at, modified };
        ensure!(!recording.is_changed(), CHANGED);
        Ok(recording)
    }

    /// Whether the file is another one than that which was hashed. One that was deleted is read to its end.
    fn is_changed(&self) -> bool {
        let is_missing = std::fs::metadata(&self.path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        !is_missing && Version::of(&self.path).ok().as_ref() != Some(&self.version)
    }

    /// Looks from time to time whether the file changes while it is read.
    ///
    /// # Errors
    /// When it does.
    pub fn look(&mut self) -> Result<(), Failure> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        self.look_now()
    }

    /// Looks whether the file has changed since it was hashed.
    ///
    /// # Errors
    /// When it has.
    pub fn look_now(&self) -> Result<(), Failure> {
        if self.is_changed() { Err(Failure::Other(CHANGED.to_owned())) } else { Ok(()) }
    }

    /// What is wrong with it, of which so many frames were found, if its end is missing and it says how long it should be.
    pub fn is_cut(&self, decoded: u64, watch: &Watch) -> Option<String> {
        let (length, expected) = (self.version.length, expected_length(&self.path, watch)?);
        Some(format!("it is incomplete: it has {length} of at least {expected} bytes, and ends after {decoded} frames"))
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
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

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
    fn a_file_that_changes_while_it_is_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let gate = source("{stream: gate, url: a.mp4}");
        let path = folder.path().join("a.ts");
        // Before it is hashed, with a recorder that writes every tenth of a second.
        std::fs::write(&path, "begin").unwrap();
        let (written, done) = (path.clone(), Arc::new(AtomicBool::new(false)));
        let recorder = std::thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let mut file = File::options().append(true).open(written).unwrap();
                while !done.load(Ordering::Relaxed) {
                    file.write_all(b"more").unwrap();
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        let error = Recording::open(&path, &gate, &watch()).unwrap_err().to_string();
        done.store(true, Ordering::Relaxed);
        recorder.join().unwrap();
        assert_eq!(error, CHANGED);
        // After it.
        let mut recording = Recording::open(&path, &gate, &watch()).unwrap();
        assert_eq!(recording.look_now(), Ok(()));
        File::options().append(true).open(&path).unwrap().write_all(b"still").unwrap();
        assert_eq!(recording.look_now(), Err(Failure::Other(CHANGED.to_owned())));
        assert_eq!(recording.look(), Ok(()), "not for each frame");
        recording.looked = Instant::now().checked_sub(LOOK).unwrap();
        assert_eq!(recording.look(), Err(Failure::Other(CHANGED.to_owned())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(recording.look_now(), Ok(()), "it is open, and nothing is missing");
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
