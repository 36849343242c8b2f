//! Speech to text: a file from its bytes to its transcript, compared with a bare loop of whisper-rs over the same windows.
//!
//! The measured side decodes the file twice, finds speech, plans windows, transcribes them with one session of one thread, judges the
//! words and stores a checkpoint for each window. The bare loop has the samples of the windows in memory, and only transcribes them. Both
//! take turns in one process; then one and two sessions do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use audio_worker::speech::file::{self, FileJob, Report as FileReport, Tools};
use audio_worker::speech::{Engine, FolderArgs, OnnxArgs, SpeechArgs, SpeechOptions, Vad, recording};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters};

use super::RunLength;
use super::meter::Meter;
use super::report::{Goal, Report};
use super::stats::Spread;

/// Samples a second.
const RATE: usize = 16_000;

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct SpeechBench {
    /// A recording of English speech; several are put together [default: those of SIGHTLINE_SAMPLES_DIR]
    #[arg(long = "recording", value_name = "FILE")]
    recordings: Vec<PathBuf>,
}

/// What every round needs.
struct Setup {
    tools: Tools,
    recording: PathBuf,
    folder: tempfile::TempDir,
    /// The samples of the windows of the recording.
    windows: Vec<Arc<[f32]>>,
    options: SpeechOptions,
}

impl SpeechBench {
    /// Measures.
    ///
    /// # Errors
    /// When a model or a recording is missing, or the words differ.
    pub async fn run(&self, run_length: RunLength) -> anyhow::Result<Report> {
        let (rounds, seconds) = run_length.pick((5, 300), (2, 60));
        let recordings = self.recordings()?;
        let (setup, one, two) = tokio::task::spawn_blocking(move || {
            let setup = Setup::new(&recordings, seconds)?;
            let (one, two) = (setup.engine(1)?, setup.engine(2)?);
            anyhow::Ok((setup, one, two))
        })
        .await??;
        let sound = setup.windows.iter().map(|samples| samples.len()).sum::<usize>() as f64 / RATE as f64;
        let mut report = Report::new("speech");
        report.setting("rounds", rounds);
        report.setting("seconds_of_speech", sound.round());
        report.setting("windows", setup.windows.len());
        report.setting("model", one.model(&setup.options)?.name.clone());
        compare(&setup, &one, rounds, sound, &mut report).await?;
        scale(&setup, &one, &two, rounds, &mut report).await?;
        Ok(report)
    }

    fn recordings(&self) -> anyhow::Result<Vec<PathBuf>> {
        if !self.recordings.is_empty() {
            return Ok(self.recordings.clone());
        }
        let samples = std::env::var_os("SIGHTLINE_SAMPLES_DIR");
        let samples = samples.context("name recordings with --recording, or set SIGHTLINE_SAMPLES_DIR")?;
        let audio = Path::new(&samples).join("audio");
        Ok(["jfk.wav", "84-121550-0000.flac"].map(|name| audio.join(name)).to_vec())
    }
}

impl Setup {
    fn new(recordings: &[PathBuf], seconds: usize) -> anyhow::Result<Self> {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let folder =
            FolderArgs { models_dir: path("SIGHTLINE_MODELS_DIR"), models_file: None, allow_noncommercial: false };
        let runtime = OnnxArgs {
            ort_dylib_path: path("SIGHTLINE_ORT_DYLIB_PATH"),
            execution_provider: Default::default(),
            gpu_device: 0,
        };
        let tools = Tools { folder, runtime };
        let folder = tempfile::tempdir().context("no folder for the recording")?;
        let recording = folder.path().join("recording.wav");
        std::fs::write(&recording, wav(&together(recordings, seconds)?))?;
        let windows = windows(&tools, &recording)?;
        ensure!(!windows.is_empty(), "there is no speech in the recordings");
        let options = SpeechOptions { language: Some("en".to_owned()), ..SpeechOptions::default() };
        Ok(Self { tools, recording, folder, windows, options })
    }

    fn engine(&self, sessions: usize) -> anyhow::Result<Engine> {
        let args = SpeechArgs { speech_sessions: Some(sessions), ..SpeechArgs::default() };
        Ok(Engine::new(&args, &self.tools.folder, &self.tools.runtime)?)
    }

    /// The words of the file, from its bytes. The checkpoints are gone afterwards.
    async fn transcribe(&self, engine: &Engine) -> anyhow::Result<String> {
        let job = FileJob {
            file: self.recording.clone(),
            checkpoints: self.folder.path().join("checkpoints"),
            options: self.options.clone(),
        };
        let unseen: FileReport = Arc::new(|_| {});
        let transcribed = file::transcribe(engine, &self.tools, &job, &unseen).await?;
        transcribed.remove_checkpoints();
        Ok(transcribed.transcript.text())
    }

    /// The windows, through the engine alone.
    async fn windows_by(&self, engine: &Engine) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let windows = stream::iter(&self.windows).map(|samples| engine.transcribe(Arc::clone(samples), &self.options));
        let _: Vec<_> = windows.buffered(engine.sessions()).try_collect().await?;
        Ok(began.elapsed())
    }
}

/// The CPU time of the whole, beside that of the bare loop.
async fn compare(setup: &Setup, engine: &Engine, rounds: usize, sound: f64, report: &mut Report) -> anyhow::Result<()> {
    let bare = Arc::new(Bare::open(&engine.model(&setup.options)?.path)?);
    let meter = Meter::of(std::process::id());
    let (mut whole, mut alone) = (Vec::new(), Vec::new());
    // The first round of each loads the model.
    for round in 0..=rounds {
        let before = meter.cpu()?;
        let words = setup.transcribe(engine).await?;
        let middle = meter.cpu()?;
        let (loops, windows) = (Arc::clone(&bare), setup.windows.clone());
        let bare_words = tokio::task::spawn_blocking(move || loops.transcribe(&windows)).await??;
        let after = meter.cpu()?;
        ensure!(words == bare_words, "the words differ:\n{words}\n{bare_words}");
        if round > 0 {
            whole.push((middle - before).as_secs_f64());
            alone.push((after - middle).as_secs_f64());
        }
    }
    let rate = |seconds: &[f64]| sound / Spread::of(seconds).median;
    report.figure("from the file to the transcript", rate(&whole), "× real time per CPU");
    report.figure("a bare loop over the windows", rate(&alone), "× real time per CPU");
    let ratios: Vec<f64> = alone.iter().zip(&whole).map(|(alone, whole)| alone / whole).collect();
    let ratio = Spread::of(&ratios);
    report.with_goal("the whole ÷ the bare loop", ratio.median, "", Goal::AtLeast(0.95));
    report.figure("the whole ÷ the bare loop, least", ratio.min, "");
    report.figure("peak memory", meter.peak()? as f64 / f64::from(1 << 20), "MiB");
    Ok(())
}

/// Two windows at a time, beside one.
async fn scale(setup: &Setup, one: &Engine, two: &Engine, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    if cores < 2 || setup.windows.len() < 4 {
        report.note("Two windows at a time needs two cores and four windows.");
        return Ok(());
    }
    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let (alone, both) = (setup.windows_by(one).await?, setup.windows_by(two).await?);
        if round > 0 {
            ratios.push(alone.as_secs_f64() / both.as_secs_f64());
        }
    }
    let ratio = Spread::of(&ratios);
    report.with_goal("two windows at a time ÷ one", ratio.median, "", Goal::AtLeast(1.9));
    report.note("Two windows at a time needs two idle cores, and windows of about the same length.");
    Ok(())
}

/// whisper-rs as its examples use it.
struct Bare {
    context: WhisperContext,
}

impl Bare {
    fn open(model: &Path) -> anyhow::Result<Self> {
        whisper_rs::install_logging_hooks();
        let mut parameters = WhisperContextParameters::default();
        parameters.use_gpu(false);
        Ok(Self { context: WhisperContext::new_with_params(model, parameters)? })
    }

    fn transcribe(&self, windows: &[Arc<[f32]>]) -> anyhow::Result<String> {
        let mut state = self.context.create_state()?;
        let mut words = Vec::new();
        for samples in windows {
            let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
            parameters.set_n_threads(1);
            parameters.set_print_progress(false);
            state.full(parameters, samples)?;
            for segment in state.as_iter() {
                words.extend(segment.to_str_lossy()?.split_whitespace().map(str::to_owned));
            }
        }
        Ok(words.join(" "))
    }
}

/// The recordings in turn, with a second of silence after each, until there are so many seconds.
fn together(recordings: &[PathBuf], seconds: usize) -> anyhow::Result<Vec<f32>> {
    let read =
        |path: &PathBuf| recording::all_samples(path).with_context(|| format!("{} cannot be read", path.display()));
    let recordings = recordings.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let mut samples = Vec::new();
    for recording in recordings.iter().cycle() {
        samples.extend_from_slice(recording);
        samples.resize(samples.len() + RATE, 0.0);
        if samples.len() >= seconds * RATE {
            break;
        }
    }
    Ok(samples)
}

fn windows(tools: &Tools, recording: &Path) -> anyhow::Result<Vec<Arc<[f32]>>> {
    let samples = recording::all_samples(recording)?;
    let mut vad = Vad::open(&tools.folder, &tools.runtime)?;
    let mut listening = vad.listen();
    listening.push(&samples)?;
    let plan = recording::planned(&listening.finish()?);
    // The plan is of whole milliseconds, so the last window may end a few samples later than the recording.
    let of = |(start, end): &(u64, u64)| {
        samples.get(*start as usize..samples.len().min(*end as usize)).map(Arc::<[f32]>::from)
    };
    plan.windows.iter().map(|window| of(window).context("a window outside of the recording")).collect()
}

/// A WAV file of 16-bit samples.
fn wav(samples: &[f32]) -> Vec<u8> {
    let bytes = samples.len() as u32 * 2;
    let mut wav = Vec::with_capacity(44 + bytes as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + bytes).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    for (number, width) in [(16, 4), (1, 2), (1, 2), (RATE as u32, 4), (2 * RATE as u32, 4), (2, 2), (16, 2)] {
        wav.extend_from_slice(&u32::to_le_bytes(number)[..width]);
    }
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&bytes.to_le_bytes());
    wav.extend(samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()));
    wav
}
