//! Finds the frame that kills the process: notes on disk of what is in native code.
//!
//! In: positions of frames, before they enter a decoder or a network and after they left. Out, after a death: which frames
//! were inside, and how often that happened. Those are suspects and are to be processed alone, so that the culprit is told
//! from its neighbours: the first death counts for everyone inside, later ones only for who was inside alone.
//! Somebody's kill -9 looks like any other death, which is why it takes [`CONDEMNED`] of them.
//!
//! The file must survive the process, not the machine, so nothing is flushed: a frame costs two small writes into the
//! kernel's cache. It is text, a line of fixed length for each frame inside, for whoever looks into it after an accident.
//! A process owns its file by a lock and reads those that dead processes of its group left behind.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bus::Position;

/// After so many deaths a frame is given up.
pub const CONDEMNED: u32 = 3;

/// Bytes of a line, its end included.
const LINE: usize = 64;
/// Bytes of the first line, which names the topic's incarnation.
const HEAD: usize = 256;
/// More processes of one group on one machine than this are a mistake.
const MOST_FILES: usize = 256;

/// The notes of one process. Shared by all its tasks.
pub struct Journal {
    file: File,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// Deaths of those that were inside when a process died.
    suspects: BTreeMap<Position, Suspect>,
    free: Vec<usize>,
    lines: usize,
}

struct Suspect {
    deaths: u32,
    line: usize,
}

/// How a frame stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// In native code, beside others.
    Beside,
    /// In native code, alone.
    Alone,
    /// A suspect that waits for its turn.
    Waiting,
}

impl Stand {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Beside, "inside"), (Self::Alone, "inside-alone"), (Self::Waiting, "suspect")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(stand, _)| *stand == self).map_or("", |(_, word)| word)
    }
}

/// A frame is in native code while this lives.
pub struct Inside<'j> {
    journal: &'j Journal,
    position: Position,
    /// The line to be freed; a suspect keeps its own.
    line: Option<usize>,
}

impl Journal {
    /// Opens the notes of this process in a folder, made where there is none, and reads those of dead ones.
    ///
    /// Notes about another incarnation of the topic mean nothing and are dropped, as are those about offsets before
    /// `earliest` of their partition, which nobody will see again.
    ///
    /// # Errors
    /// When the folder or file cannot be made or written.
    pub fn open(folder: &Path, group: &str, incarnation: &str, earliest: impl Fn(i32) -> i64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut own = None;
        let mut deaths: BTreeMap<Position, u32> = BTreeMap::new();
        for number in 0..MOST_FILES {
            let path = folder.join(format!("{group}.{number}"));
            if own.is_some() && !path.exists() {
                break;
            }
            let Some(file) = lock(&path)? else { continue };
            for (position, count) in read(&file, incarnation)? {
                let known = deaths.entry(position).or_default();
                *known = count.max(*known);
            }
            match own {
                None => own = Some(file),
                // Emptied only after what it said is in the own file, below, would be safer still; but a death between
                // the two forgets a suspicion, not a frame.
                Some(_) => file.set_len(0)?,
            }
        }
        let file = own.ok_or_else(|| io::Error::other(format!("{MOST_FILES} files of this group are in use")))?;
        deaths.retain(|position, _| position.offset >= earliest(position.partition));
        Self::start(file, incarnation, deaths)
    }

    fn start(file: File, incarnation: &str, deaths: BTreeMap<Position, u32>) -> io::Result<Self> {
        file.set_len(0)?;
        let head = format!("{:<width$}\n", head(incarnation), width = HEAD - 1);
        file.write_all_at(head.as_bytes(), 0)?;
        let journal = Self { file, notes: Mutex::default() };
        for (position, deaths) in deaths {
            if deaths < CONDEMNED {
                tracing::warn!(
                    frame.partition = position.partition,
                    frame.offset = position.offset,
                    deaths,
                    "a process died while this frame was in native code; it will be processed alone"
                );
            }
            let mut notes = journal.notes();
            let line = notes.take_line();
            notes.suspects.insert(position, Suspect { deaths, line });
            drop(notes);
            journal.write(line, &line_of(position, deaths, Stand::Waiting))?;
        }
        Ok(journal)
    }

    /// How many deaths stand against a frame.
    pub fn deaths(&self, position: Position) -> u32 {
        self.notes().suspects.get(&position).map_or(0, |suspect| suspect.deaths)
    }

    /// Notes that a frame is in native code until the answer is dropped. A suspect must be alone there.
    pub fn enter(&self, position: Position) -> Inside<'_> {
        let mut notes = self.notes();
        let known = notes.suspects.get(&position).map(|suspect| (suspect.line, suspect.deaths));
        let (line, deaths, stand, freed) = match known {
            Some((line, deaths)) => (line, deaths, Stand::Alone, None),
            None => {
                let line = notes.take_line();
                (line, 0, Stand::Beside, Some(line))
            }
        };
        drop(notes);
        self.note(line, &line_of(position, deaths, stand));
        Inside { journal: self, position, line: freed }
    }

    /// A frame is done with: nothing stands against it any more.
    pub fn acquit(&self, position: Position) {
        let mut notes = self.notes();
        let Some(suspect) = notes.suspects.remove(&position) else { return };
        notes.free.push(suspect.line);
        drop(notes);
        self.note(suspect.line, &blank());
    }

    /// Writes a line. Where that fails the worker works on: it only would not find a culprit.
    fn note(&self, line: usize, text: &str) {
        if let Err(error) = self.write(line, text) {
            tracing::warn!(%error, "SIGHTLINE_WORKER_STATE_DIR: a note about a frame in native code was not written");
        }
    }

    fn write(&self, line: usize, text: &str) -> io::Result<()> {
        self.file.write_all_at(text.as_bytes(), (HEAD + line * LINE) as u64)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn take_line(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.lines += 1;
            self.lines - 1
        })
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut notes = self.journal.notes();
        match self.line {
            Some(line) => {
                // Blank before it is free, so that who takes it next is not erased.
                self.journal.note(line, &blank());
                notes.free.push(line);
            }
            None => {
                if let Some(suspect) = notes.suspects.get(&self.position) {
                    let text = line_of(self.position, suspect.deaths, Stand::Waiting);
                    self.journal.note(suspect.line, &text);
                }
            }
        }
    }
}

/// Opens and locks a file; nothing where another process has it.
fn lock(path: &PathBuf) -> io::Result<Option<File>> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn head(incarnation: &str) -> String {
    let text = format!("frames in native code, topic {incarnation}");
    text.chars().filter(char::is_ascii_graphic).take(HEAD - 1).collect()
}

fn line_of(position: Position, deaths: u32, stand: Stand) -> String {
    let text = format!("{} {} {deaths} {}", position.partition, position.offset, stand.word());
    format!("{text:<width$}\n", width = LINE - 1)
}

fn blank() -> String {
    format!("{:<width$}\n", "", width = LINE - 1)
}

/// Who stands in a dead process's file, with the deaths that now stand against them.
fn read(file: &File, incarnation: &str) -> io::Result<Vec<(Position, u32)>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some(&head(incarnation)) {
        return Ok(Vec::new());
    }
    Ok(lines.filter_map(accused).collect())
}

fn accused(line: &str) -> Option<(Position, u32)> {
    let mut words = line.split_whitespace();
    let position = Position { partition: words.next()?.parse().ok()?, offset: words.next()?.parse().ok()? };
    let deaths: u32 = words.next()?.parse().ok()?;
    let word = words.next()?;
    let (stand, _) = Stand::ALL.into_iter().find(|(_, known)| *known == word)?;
    let deaths = match stand {
        Stand::Beside => deaths.max(1),
        Stand::Alone => deaths + 1,
        Stand::Waiting => deaths,
    };
    Some((position, deaths))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Position {
        Position { partition: 3, offset }
    }

    fn open(folder: &Path) -> Journal {
        Journal::open(folder, "group", "first", |_| 0).unwrap()
    }

    /// Ends a process's life with frames inside: the file stays as it is.
    fn die(journal: Journal, inside: &[Position]) {
        inside.iter().for_each(|position| std::mem::forget(journal.enter(*position)));
        drop(journal);
    }

    #[test]
    fn the_first_death_counts_for_all_inside_and_later_ones_only_for_who_was_alone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path());
        drop(journal.enter(at(1)));
        die(journal, &[at(2), at(3)]);

        let journal = open(folder.path());
        assert_eq!([1, 2, 3].map(|offset| journal.deaths(at(offset))), [0, 1, 1]);
        drop(journal.enter(at(2)));
        journal.acquit(at(2));
        die(journal, &[at(3), at(9)]);

        let journal = open(folder.path());
        assert_eq!([2, 3, 9].map(|offset| journal.deaths(at(offset))), [0, 2, 1]);
        die(journal, &[at(3)]);

        let journal = open(folder.path());
        assert_eq!([3, 9].map(|offset| journal.deaths(at(offset))), [CONDEMNED, 1]);
        journal.acquit(at(3));
        drop(journal);
        assert_eq!(open(folder.path()).deaths(at(3)), 0);
    }

    #[test]
    fn a_death_between_two_visits_does_not_count_against_a_suspect() {
        let folder = tempfile::tempdir().unwrap();
        die(open(folder.path()), &[at(1)]);
        let journal = open(folder.path());
        drop(journal.enter(at(1)));
        drop(journal);
        assert_eq!(open(folder.path()).deaths(at(1)), 1);
    }

    #[test]
    fn notes_about_another_topic_or_about_what_is_gone_mean_nothing() {
        let folder = tempfile::tempdir().unwrap();
        die(open(folder.path()), &[at(1), at(5)]);
        let journal = Journal::open(folder.path(), "group", "first", |_| 2).unwrap();
        assert_eq!([1, 5].map(|offset| journal.deaths(at(offset))), [0, 1]);
        drop(journal);
        let journal = Journal::open(folder.path(), "group", "second", |_| 0).unwrap();
        assert_eq!(journal.deaths(at(5)), 0);
    }

    #[test]
    fn a_living_process_keeps_its_notes_and_a_dead_ones_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (open(folder.path()), open(folder.path()));
        let _inside = first.enter(at(1));
        die(second, &[at(2)]);
        let third = open(folder.path());
        assert_eq!([1, 2].map(|offset| third.deaths(at(offset))), [0, 1]);
    }

    #[test]
    fn a_damaged_file_accuses_nobody() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("group.0"), [0xff; 1000]).unwrap();
        let journal = open(folder.path());
        die(journal, &[at(1)]);
        let path = folder.path().join("group.0");
        let text = std::fs::read_to_string(&path).unwrap().replace("3 1", "x y");
        std::fs::write(&path, text).unwrap();
        assert_eq!(open(folder.path()).deaths(at(1)), 0);
    }
}
