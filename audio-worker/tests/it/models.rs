//! The models and the recordings of the tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use audio_worker::speech::file::{self, FileJob, Progress, Report, Tools};
use audio_worker::speech::{Engine, FolderArgs, OnnxArgs, SpeechArgs, SpeechOptions};
use contracts::Transcript;

/// The files that the tests need.
const FILES: [&str; 2] = ["ggml-tiny.en-f16.bin", "silero_vad_16k_op15.onnx"];

/// What a test needs.
pub struct Setup {
    pub tools: Tools,
    pub engine: Engine,
    pub folder: tempfile::TempDir,
    samples: PathBuf,
}

/// The folder of an environment variable; prints what is skipped when it is not set.
fn folder(test: &str, variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: {test}: {variable} is not set");
    }
    folder
}

/// Tools for the models in a folder.
pub fn tools(models: &Path) -> Tools {
    let folder = FolderArgs { models_dir: Some(models.to_owned()), models_file: None, allow_noncommercial: false };
    let runtime = OnnxArgs {
        ort_dylib_path: std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH").map(PathBuf::from),
        execution_provider: Default::default(),
        gpu_device: 0,
    };
    Tools { folder, runtime }
}

/// The models, an engine with two sessions, and an empty folder; `None` if the test is skipped.
pub fn setup(test: &str) -> Option<Setup> {
    let (models, samples) = (folder(test, "SIGHTLINE_MODELS_DIR")?, folder(test, "SIGHTLINE_SAMPLES_DIR")?);
    if let Some(missing) = FILES.iter().find(|file| !models.join(file).exists()) {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no {missing}");
        return None;
    }
    let tools = tools(&models);
    let args = SpeechArgs { speech_sessions: Some(2), ..SpeechArgs::default() };
    let engine = Engine::new(&args, &tools.folder, &tools.runtime).unwrap();
    Some(Setup { tools, engine, folder: tempfile::tempdir().unwrap(), samples: samples.join("audio") })
}

impl Setup {
    /// A recording among the samples.
    pub fn sample(&self, name: &str) -> PathBuf {
        self.samples.join(name)
    }

    /// The samples of the President's sentence: eleven seconds.
    pub fn jfk(&self) -> Vec<f32> {
        audio_worker::speech::recording::all_samples(&self.sample("jfk.wav")).unwrap()
    }

    /// A file in the folder of the test.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// How a file in English is transcribed.
    pub fn job(&self, file: &Path) -> FileJob {
        FileJob { file: file.to_owned(), checkpoints: self.folder.path().join("checkpoints"), options: english() }
    }

    /// The transcript of a file.
    pub async fn transcribe(&self, file: &Path) -> anyhow::Result<Transcript> {
        let unseen: Report = Arc::new(|_: Progress| {});
        let transcribed = file::transcribe(&self.engine, &self.tools, &self.job(file), &unseen).await?;
        transcribed.remove_checkpoints();
        Ok(transcribed.transcript)
    }
}

/// English.
pub fn english() -> SpeechOptions {
    SpeechOptions { language: Some("en".to_owned()), ..SpeechOptions::default() }
}
