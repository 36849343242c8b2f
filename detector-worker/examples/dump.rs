//! Writes decoded pixels and detections to files, for comparison with other implementations:
//! `cargo run --release -p detector-worker --example dump -- MODELS_DIR OUT MODEL FILE...`
//!
//! `OUT/<name>.rgb` contains the decoded pixels of each file as packed RGB. `OUT/<MODEL>.json` contains, by file name, the size of
//! the image and its detections. `tests/reference/` reads both.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use detector_worker::media::{self, DecodeLimits};
use detector_worker::model::Image;
use detector_worker::registry::Registry;
use detector_worker::runtime::RuntimeOptions;
use serde_json::{Map, json};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let models_dir = arguments.next().context("name the models folder")?;
    let out = arguments.next().context("name the folder to write to")?;
    let wanted = arguments.next().context("name the model")?;
    let registry = Registry::built_in()?;
    let model = registry.model(&wanted).with_context(|| format!("there is no model {wanted}"))?;
    let mut detector = registry.open_model(&model.task.parse()?, model, &RuntimeOptions::cpu(models_dir))?;
    let mut report = Map::new();
    for path in arguments {
        let encoded = std::fs::read(&path).with_context(|| path.clone())?;
        let media_type = media::probe(&encoded)?.format.media_type();
        let pixels = media::decode(&encoded, &DecodeLimits::default()).with_context(|| path.clone())?;
        let (width, height) = (pixels.width(), pixels.height());
        let name = Path::new(&path).file_name().context("not a file")?.to_string_lossy().into_owned();
        std::fs::write(Path::new(&out).join(format!("{name}.rgb")), pixels.rgb())?;
        let image = Image { pixels, encoded: encoded.into(), media_type };
        let detections = detector.detect(&[Arc::new(image)]).remove(0)?.detections;
        report.insert(name, json!({ "width": width, "height": height, "detections": detections }));
    }
    std::fs::write(Path::new(&out).join(format!("{wanted}.json")), serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}
