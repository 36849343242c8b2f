//! What the examples that write files share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use vision::media::{self, DecodeLimits};
use vision::model::Image;
use vision::runtime::RuntimeOptions;

/// One session on the CPU, with the library that `SIGHTLINE_ORT_DYLIB_PATH` names.
pub fn options(models_dir: String) -> RuntimeOptions {
    let dylib = std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH").map(PathBuf::from);
    RuntimeOptions { dylib, ..RuntimeOptions::cpu(models_dir) }
}

/// The decoded image of a file, and the name of the file. Writes the pixels to `OUT/<name>.rgb` as packed RGB.
pub fn image(path: &str, out: &str) -> anyhow::Result<(String, Arc<Image>)> {
    let encoded = std::fs::read(path).with_context(|| path.to_owned())?;
    let media_type = media::probe(&encoded)?.format.media_type();
    let pixels = media::decode(&encoded, &DecodeLimits::default()).with_context(|| path.to_owned())?;
    let name = Path::new(path).file_name().context("not a file")?.to_string_lossy().into_owned();
    std::fs::write(Path::new(out).join(format!("{name}.rgb")), pixels.rgb())?;
    Ok((name, Arc::new(Image { pixels, encoded: encoded.into(), media_type, embed_faces: true })))
}
