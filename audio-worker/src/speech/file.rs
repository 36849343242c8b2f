//! The transcript of a file, without any service. A run that was interrupted goes on where it was.
//!
//! In: a file, and an engine. Out: its transcript. Guarantees: a window that was transcribed once is not transcribed again until the caller
//! has written the transcript; a run that was killed at any moment ends with the same bytes as one that was not.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use contracts::{Transcript, TranscriptSegment};
use futures::{StreamExt as _, TryStreamExt as _};
use media::WindowKey;
use models::FolderArgs;
use onnx::OnnxArgs;
use sound::{Decoder, Sound};

use super::checkpoints::{Checkpoints, WindowWords};
use super::engine::{CancelOnDrop, Engine, SpeechOptions};
use super::gate;
use super::heard::whole_ms;
use super::recording::{self, Plan, Reader, RecordingError, WindowSamples, time_of, windows_of};
use super::vad::Vad;

/// The provider of these texts, in transcripts and in the keys of checkpoints.
pub const PROVIDER: &str = "here";

/// A file to transcribe.
#[derive(Debug, Clone)]
pub struct FileJob {
    /// The file.
    pub file: PathBuf,
    /// The folder with the checkpoints of this and other files.
    pub checkpoints: PathBuf,
    /// How.
    pub options: SpeechOptions,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Speech was looked for up to a time of the whole.
    Listened {
        /// The time.
        at: Duration,
        /// The whole.
        of: Duration,
    },
    /// So many windows have their words. The first report is before any is transcribed in this run.
    Windows {
        /// Windows with words.
        done: usize,
        /// All windows.
        of: usize,
    },
}

/// Is told the progress, also from other threads.
pub type Report = Arc<dyn Fn(Progress) + Send + Sync>;

/// Where the models are.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The folder of the models.
    pub folder: FolderArgs,
    /// ONNX Runtime.
    pub runtime: OnnxArgs,
}

/// A file that was transcribed.
#[derive(Debug)]
pub struct Transcribed {
    /// Its transcript.
    pub transcript: Transcript,
    checkpoints: Checkpoints,
}

impl Transcribed {
    /// Removes what was kept for another run. Call it when the transcript is written: a full disk would cost hours of work before.
    pub fn remove_checkpoints(&self) {
        self.checkpoints.remove();
    }
}

/// Transcribes a file. Dropping the future ends it; the windows that have their words keep them.
///
/// # Errors
/// When the file cannot be read or is refused, a checkpoint cannot be written, or the engine fails.
pub async fn transcribe(engine: &Engine, tools: &Tools, job: &FileJob, report: &Report) -> anyhow::Result<Transcribed> {
    // An unknown language is refused before speech is looked for, which takes minutes in a long file.
    let model = engine.model(&job.options)?.clone();
    let cancelled = Arc::new(AtomicBool::new(false));
    let _cancel = CancelOnDrop(Arc::clone(&cancelled));
    let preparing = {
        let (tools, job, report) = (tools.clone(), job.clone(), Arc::clone(report));
        tokio::task::spawn_blocking(move || prepare(&tools, &job, &report, &cancelled))
    };
    let Prepared { sound, plan, reader, checkpoints } = preparing.await.context("the file was not read")??;
    let of = plan.windows.len();
    report(Progress::Windows { done: 0, of });

    let (kept, name) = (&checkpoints, &*model.name);
    let words = windows_of(reader, &plan).map(|window| {
        let hash = &model.sha256;
        async move {
            let WindowSamples { start, samples, .. } = window?;
            let key = key(&samples, hash, &job.options);
            if let Some(words) = kept.words(&key) {
                return anyhow::Ok((start, words));
            }
            let judged = engine.transcribe(samples, &job.options).await?;
            let language = judged.heard.language.clone();
            let segments = judged.heard.into_segments(Duration::ZERO, PROVIDER, name, judged.flag);
            let words = WindowWords { language, segments };
            kept.put_words(&key, &words)?;
            Ok((start, words))
        }
    });
    let mut words = std::pin::pin!(words.buffered(engine.sessions()));
    let (mut language, mut segments, mut done) = (job.options.language.clone(), Vec::new(), 0);
    while let Some((start, window)) = words.try_next().await? {
        language = language.or(window.language);
        let at = whole_ms(time_of(start));
        segments.extend(window.segments.into_iter().map(|segment| later(segment, at)));
        done += 1;
        report(Progress::Windows { done, of });
    }
    let transcript = Transcript::new(language, whole_ms(sound.duration), segments);
    Ok(Transcribed { transcript, checkpoints: checkpoints.clone() })
}

/// A file whose windows can be read.
struct Prepared {
    sound: Sound,
    plan: Plan,
    reader: Reader,
    checkpoints: Checkpoints,
}

fn prepare(tools: &Tools, job: &FileJob, report: &Report, cancelled: &AtomicBool) -> anyhow::Result<Prepared> {
    let (file, bytes) = open(&job.file)?;
    let refused = || format!("{} is not transcribed", job.file.display());
    let sound = recording::probe(file, bytes).with_context(refused)?;
    let checkpoints = Checkpoints::of(&job.file, &job.checkpoints)?;
    let plan = match checkpoints.plan() {
        Some(plan) => plan,
        None => {
            let mut vad = Vad::open(&tools.folder, &tools.runtime)?;
            let of = sound.duration;
            let listened = |at| {
                report(Progress::Listened { at, of });
                !cancelled.load(Ordering::Relaxed)
            };
            let plan = recording::plan(&mut decoder(&job.file, &sound)?, &mut vad, listened).with_context(refused)?;
            checkpoints.put_plan(&plan)?;
            plan
        }
    };
    let reader = Reader::new(decoder(&job.file, &sound)?);
    Ok(Prepared { sound, plan, reader, checkpoints })
}

fn open(file: &Path) -> anyhow::Result<(File, u64)> {
    let unreadable = || format!("{} cannot be read", file.display());
    let opened = File::open(file).with_context(unreadable)?;
    let metadata = opened.metadata().with_context(unreadable)?;
    anyhow::ensure!(metadata.is_file(), "{} is not a file", file.display());
    Ok((opened, metadata.len()))
}

fn decoder(path: &Path, sound: &Sound) -> anyhow::Result<Decoder> {
    let (file, bytes) = open(path)?;
    Ok(Decoder::open(file, bytes, sound).map_err(RecordingError::from)?)
}

/// A segment of a window that begins at `at`.
fn later(mut segment: TranscriptSegment, at: u64) -> TranscriptSegment {
    (segment.start_ms, segment.end_ms) = (segment.start_ms + at, segment.end_ms + at);
    for word in &mut segment.words {
        (word.start_ms, word.end_ms) = (word.start_ms + at, word.end_ms + at);
    }
    segment
}

/// Everything that the words of a window depend on, but for its place in the recording, which the plan has.
fn key(samples: &[f32], model: &str, options: &SpeechOptions) -> [u8; 32] {
    let parameters = if options.words { "words" } else { "" };
    let language = options.language.as_deref();
    WindowKey { pcm: samples, kind: "whisper", model, language, parameters, gate: gate::VERSION }.key()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_transcribed_is_kept_until_the_transcript_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("book.mp3");
        std::fs::write(&file, b"the bytes of a book").unwrap();
        let checkpoints = Checkpoints::of(&file, folder.path()).unwrap();
        checkpoints.put_plan(&Plan { samples: 16_000, windows: vec![(0, 16_000)] }).unwrap();
        let transcribed =
            || Transcribed { transcript: Transcript::new(None, 1_000, Vec::new()), checkpoints: checkpoints.clone() };
        // The caller could not write it.
        drop(transcribed());
        assert!(checkpoints.plan().is_some());
        transcribed().remove_checkpoints();
        assert!(checkpoints.plan().is_none());
    }
}
