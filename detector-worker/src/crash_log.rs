//! Finds a frame that crashes the process. A file records which frames are in native code.
//!
//! A frame is recorded when it enters a decoder or a network and its record is erased when it leaves. After a crash the next process reads
//! the file: the frames in it are suspects. Suspects are processed one at a time, which separates the culprit from its
//! neighbours: the first crash counts for every frame that was recorded, later crashes only for a frame that was recorded
//! alone. An operator's `kill -9` looks like any other crash, and an orchestrator may kill a process several times in a row, so a frame fails
//! only after [`MAX_CRASHES`].
//!
//! The file must survive the process, not the machine, so nothing is synced: a frame costs two small writes to the page
//! cache. The file is text, one line of fixed length per frame, so that an operator can read it after a crash. A
//! process locks its own file, and reads the files of crashed processes of its consumer group.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bus::Position;

/// Number of crashes after which a frame fails.
pub const MAX_CRASHES: u32 = 5;

/// Length of a line in bytes, with its line break.
const LINE_BYTES: usize = 64;
/// Length of the first line in bytes, which contains the topic id.
const HEADER_BYTES: usize = 256;
/// Maximum number of files per consumer group and machine.
const MAX_FILES: usize = 256;

/// The file of one process. All its tasks share one value.
pub struct CrashLog {
    file: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Frames that were in native code when a process crashed.
    suspects: BTreeMap<Position, Suspect>,
    /// Blank lines of the file.
    free_lines: Vec<usize>,
    /// Lines of the file, used or free.
    lines: usize,
}

struct Suspect {
    crashes: u32,
    line: usize,
}

/// The state of a frame in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameState {
    /// In native code, together with other frames.
    Shared,
    /// In native code, alone.
    Alone,
    /// A suspect that is not in native code now.
    Waiting,
}

impl FrameState {
    /// The words in the file. They must not change, because earlier versions wrote them.
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Shared, "inside"), (Self::Alone, "inside-alone"), (Self::Waiting, "suspect")];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }
}

/// A frame in native code. Dropping it erases the record.
pub struct NativeSection<'l> {
    log: &'l CrashLog,
    position: Position,
    /// The line to erase; `None` for a suspect, which keeps its line.
    line: Option<usize>,
}

impl CrashLog {
    /// Opens the file of this process in `folder`, which is created if needed, and reads the files of crashed processes.
    ///
    /// Records of another topic id are dropped, because their offsets mean other frames. Records before `earliest` of
    /// their partition are dropped too, because these frames are never delivered again.
    ///
    /// # Errors
    /// The folder or the file cannot be created or written.
    pub fn open(folder: &Path, group: &str, topic_id: &str, earliest: impl Fn(i32) -> i64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut own = None;
        let mut crashes: BTreeMap<Position, u32> = BTreeMap::new();
        for number in 0..MAX_FILES {
            let path = folder.join(format!("{group}.{number}"));
            if own.is_some() && !path.exists() {
                break;
            }
            let Some(file) = lock(&path)? else { continue };
            for (position, count) in read(&file, topic_id)? {
                let known = crashes.entry(position).or_default();
                *known = count.max(*known);
            }
            match own {
                None => own = Some(file),
                // The records are written to this process's file only below. After a crash before
                // that, a suspect is forgotten, but no frame is lost.
                Some(_) => file.set_len(0)?,
            }
        }
        let file = own.ok_or_else(|| io::Error::other(format!("{MAX_FILES} files of this group are in use")))?;
        crashes.retain(|position, _| position.offset >= earliest(position.partition));
        Self::start(file, topic_id, crashes)
    }

    fn start(file: File, topic_id: &str, crashes: BTreeMap<Position, u32>) -> io::Result<Self> {
        file.set_len(0)?;
        let header = format!("{:<width$}\n", header(topic_id), width = HEADER_BYTES - 1);
        file.write_all_at(header.as_bytes(), 0)?;
        let log = Self { file, state: Mutex::default() };
        for (position, crashes) in crashes {
            if crashes < MAX_CRASHES {
                tracing::warn!(
                    frame.partition = position.partition,
                    frame.offset = position.offset,
                    crashes,
                    "a process crashed while this frame was in native code; it is processed alone"
                );
            }
            let mut state = log.state();
            let line = state.take_line();
            state.suspects.insert(position, Suspect { crashes, line });
            drop(state);
            log.write(line, &format_line(position, crashes, FrameState::Waiting))?;
        }
        Ok(log)
    }

    /// Number of recorded crashes of a frame.
    pub fn crashes(&self, position: Position) -> u32 {
        self.state().suspects.get(&position).map_or(0, |suspect| suspect.crashes)
    }

    /// Records that a frame is in native code until the returned value is dropped. The caller ensures that a suspect is alone.
    pub fn enter(&self, position: Position) -> NativeSection<'_> {
        let mut state = self.state();
        let suspect = state.suspects.get(&position).map(|suspect| (suspect.line, suspect.crashes));
        let (line, crashes, frame_state, to_erase) = match suspect {
            Some((line, crashes)) => (line, crashes, FrameState::Alone, None),
            None => {
                let line = state.take_line();
                (line, 0, FrameState::Shared, Some(line))
            }
        };
        drop(state);
        self.record(line, &format_line(position, crashes, frame_state));
        NativeSection { log: self, position, line: to_erase }
    }

    /// Removes the crashes of a frame that was processed.
    pub fn clear(&self, position: Position) {
        let mut state = self.state();
        let Some(suspect) = state.suspects.remove(&position) else { return };
        // Erased before the line is reused, so that the next record is not erased.
        self.record(suspect.line, &blank());
        state.free_lines.push(suspect.line);
    }

    /// Writes a line. After an error the worker continues, but a crash of this frame would not be attributed to it.
    fn record(&self, line: usize, text: &str) {
        if let Err(error) = self.write(line, text) {
            tracing::warn!(%error, "SIGHTLINE_WORKER_STATE_DIR: a frame in native code was not recorded");
        }
    }

    fn write(&self, line: usize, text: &str) -> io::Result<()> {
        self.file.write_all_at(text.as_bytes(), (HEADER_BYTES + line * LINE_BYTES) as u64)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_line(&mut self) -> usize {
        self.free_lines.pop().unwrap_or_else(|| {
            self.lines += 1;
            self.lines - 1
        })
    }
}

impl Drop for NativeSection<'_> {
    fn drop(&mut self) {
        let mut state = self.log.state();
        match self.line {
            Some(line) => {
                // Erased before the line is reused, so that the next record is not erased.
                self.log.record(line, &blank());
                state.free_lines.push(line);
            }
            None => {
                if let Some(suspect) = state.suspects.get(&self.position) {
                    let text = format_line(self.position, suspect.crashes, FrameState::Waiting);
                    self.log.record(suspect.line, &text);
                }
            }
        }
    }
}

/// Opens and locks a file; `None` when another process has the lock.
fn lock(path: &PathBuf) -> io::Result<Option<File>> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn header(topic_id: &str) -> String {
    let text = format!("frames in native code, topic {topic_id}");
    text.chars().filter(char::is_ascii_graphic).take(HEADER_BYTES - 1).collect()
}

fn format_line(position: Position, crashes: u32, state: FrameState) -> String {
    let text = format!("{} {} {crashes} {}", position.partition, position.offset, state.word());
    format!("{text:<width$}\n", width = LINE_BYTES - 1)
}

fn blank() -> String {
    format!("{:<width$}\n", "", width = LINE_BYTES - 1)
}

/// The frames in a file, each with its number of crashes, including the last one.
fn read(file: &File, topic_id: &str) -> io::Result<Vec<(Position, u32)>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some(&header(topic_id)) {
        return Ok(Vec::new());
    }
    Ok(lines.filter_map(parse_line).collect())
}

fn parse_line(line: &str) -> Option<(Position, u32)> {
    let mut words = line.split_whitespace();
    let position = Position { partition: words.next()?.parse().ok()?, offset: words.next()?.parse().ok()? };
    let crashes: u32 = words.next()?.parse().ok()?;
    let word = words.next()?;
    let (state, _) = FrameState::WORDS.into_iter().find(|(_, known)| *known == word)?;
    let crashes = match state {
        FrameState::Shared => crashes.max(1),
        FrameState::Alone => crashes + 1,
        FrameState::Waiting => crashes,
    };
    Some((position, crashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Position {
        Position { partition: 3, offset }
    }

    fn open(folder: &Path) -> CrashLog {
        CrashLog::open(folder, "group", "first", |_| 0).unwrap()
    }

    /// Ends a process with these frames in native code: the file stays as it is.
    fn crash(log: CrashLog, in_native_code: &[Position]) {
        in_native_code.iter().for_each(|position| std::mem::forget(log.enter(*position)));
        drop(log);
    }

    #[test]
    fn the_first_crash_counts_for_all_later_ones_for_one_frame() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        drop(log.enter(at(1)));
        crash(log, &[at(2), at(3)]);

        let log = open(folder.path());
        assert_eq!([1, 2, 3].map(|offset| log.crashes(at(offset))), [0, 1, 1]);
        drop(log.enter(at(2)));
        log.clear(at(2));
        crash(log, &[at(3), at(9)]);

        let log = open(folder.path());
        assert_eq!([2, 3, 9].map(|offset| log.crashes(at(offset))), [0, 2, 1]);
        crash(log, &[at(3)]);

        let log = open(folder.path());
        assert_eq!([3, 9].map(|offset| log.crashes(at(offset))), [3, 1]);
        log.clear(at(3));
        drop(log);
        assert_eq!(open(folder.path()).crashes(at(3)), 0);
    }

    #[test]
    fn a_crash_outside_native_code_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        crash(open(folder.path()), &[at(1)]);
        let log = open(folder.path());
        drop(log.enter(at(1)));
        drop(log);
        assert_eq!(open(folder.path()).crashes(at(1)), 1);
    }

    #[test]
    fn records_of_another_topic_or_of_dropped_offsets_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        crash(open(folder.path()), &[at(1), at(5)]);
        let log = CrashLog::open(folder.path(), "group", "first", |_| 2).unwrap();
        assert_eq!([1, 5].map(|offset| log.crashes(at(offset))), [0, 1]);
        drop(log);
        let log = CrashLog::open(folder.path(), "group", "second", |_| 0).unwrap();
        assert_eq!(log.crashes(at(5)), 0);
    }

    #[test]
    fn only_the_files_of_ended_processes_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (open(folder.path()), open(folder.path()));
        let _section = first.enter(at(1));
        crash(second, &[at(2)]);
        let third = open(folder.path());
        assert_eq!([1, 2].map(|offset| third.crashes(at(offset))), [0, 1]);
    }

    #[test]
    fn a_damaged_crash_log_has_no_suspects() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("group.0"), [0xff; 1000]).unwrap();
        let log = open(folder.path());
        crash(log, &[at(1)]);
        let path = folder.path().join("group.0");
        let text = std::fs::read_to_string(&path).unwrap().replace("3 1", "x y");
        std::fs::write(&path, text).unwrap();
        assert_eq!(open(folder.path()).crashes(at(1)), 0);
    }
}
