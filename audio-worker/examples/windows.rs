//! Writes the windows of recordings, and the words that the engine hears in each, for comparison with other implementations:
//! `cargo run --release -p audio-worker --example windows -- MODELS_DIR OUT MODEL FILE...`
//!
//! `OUT/<name>-<number>.f32` has the samples of a window at 16 kHz, 32-bit little-endian floats. `OUT/<name>.json` has the words of each
//! window, and the flag of those that are doubtful. `tests/reference/` reads them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use audio_worker::speech::{Engine, FolderArgs, OnnxArgs, SpeechArgs, SpeechOptions, Vad, recording};
use serde_json::json;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let models_dir = arguments.next().context("name the models folder")?;
    let out = PathBuf::from(arguments.next().context("name the folder to write to")?);
    let model = arguments.next().context("name the model")?;
    let folder = FolderArgs { models_dir: Some(models_dir.into()), models_file: None, allow_noncommercial: false };
    let library = std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH").map(PathBuf::from);
    let onnx = OnnxArgs { ort_dylib_path: library, execution_provider: Default::default(), gpu_device: 0 };
    let args = SpeechArgs { speech_model: model, ..SpeechArgs::default() };
    let engine = Engine::new(&args, &folder, &onnx)?;
    let mut vad = Vad::open(&folder, &onnx)?;
    for path in arguments {
        write_windows(&engine, &mut vad, Path::new(&path), &out).await.with_context(|| path.clone())?;
    }
    Ok(())
}

async fn write_windows(engine: &Engine, vad: &mut Vad, path: &Path, out: &Path) -> anyhow::Result<()> {
    let name = path.file_stem().context("it has no name")?.to_string_lossy().into_owned();
    let samples = recording::all_samples(path)?;
    let mut listening = vad.listen();
    listening.push(&samples)?;
    let plan = recording::planned(&listening.finish()?);
    let options = SpeechOptions { language: Some("en".to_owned()), ..SpeechOptions::default() };
    let mut windows = Vec::new();
    for (number, (start, end)) in plan.windows.into_iter().enumerate() {
        let end = samples.len().min(usize::try_from(end)?);
        let window = samples.get(usize::try_from(start)?..end).context("a window outside of the recording")?;
        let bytes: Vec<u8> = window.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(out.join(format!("{name}-{number}.f32")), bytes)?;
        let judged = engine.transcribe(Arc::from(window), &options).await?;
        windows.push(json!({"text": judged.heard.text(), "flag": judged.flag}));
    }
    std::fs::write(out.join(format!("{name}.json")), serde_json::to_vec_pretty(&windows)?)?;
    Ok(())
}
