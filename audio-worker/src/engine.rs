//! Opens Whisper for the providers of the file, if one of them is in this process.

use crate::config::{Config, SharedArgs};
use crate::providers::ProviderFile;
use crate::speech::Engine;

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
