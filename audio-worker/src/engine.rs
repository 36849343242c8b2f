//! Opens Whisper for the providers of the file, if one of them is in this process, and looks for the models that every worker needs.

use crate::config::{Config, SharedArgs};
use crate::providers::ProviderFile;
use crate::speech::Engine;

/// What finds speech and embeds sentences, by name and kind.
const NETWORKS: [(&str, &str); 2] = [("silero-vad", "silero_vad"), ("minilm-l6-v2", "minilm")];

/// What this worker lacks to plan windows and to describe books, and what to do about it.
///
/// # Errors
/// When the thread that looks for it ends.
pub async fn missing(shared: &SharedArgs) -> anyhow::Result<Vec<String>> {
    let folder = shared.folder.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let missing = NETWORKS.into_iter().filter_map(|(name, kind)| folder.open(name, kind).err());
        missing.map(|error| error.to_string()).collect()
    });
    Ok(looking.await?)
}

/// The engine, or why there is none and what to do about it. Reads the model once, to check its hash.
///
/// # Errors
/// When the thread that opens it ends.
pub async fn open(file: &ProviderFile, config: &Config, shared: &SharedArgs) -> anyhow::Result<Result<Engine, String>> {
    if !file.uses_whisper() {
        return Ok(Err("no provider of the file is of the kind whisper".to_owned()));
    }
    let (args, folder, onnx) = (config.speech.clone(), shared.folder.clone(), shared.onnx.clone());
    let opened = tokio::task::spawn_blocking(move || Engine::new(&args, &folder, &onnx)).await?;
    Ok(opened.map_err(|error| error.to_string()))
}
