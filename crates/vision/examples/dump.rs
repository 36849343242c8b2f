//! Writes decoded pixels and detections to files, for comparison with other implementations:
//! `cargo run --release -p vision --example dump -- MODELS_DIR OUT [DETECTOR:]MODEL[@THRESHOLD] FILE...`
//!
//! `OUT/<name>.rgb` contains the decoded pixels of each file as packed RGB. `OUT/<[DETECTOR:]MODEL[@THRESHOLD]>.json` contains, by
//! file name, the size of the image and its detections; `OUT/classes.json` the labels of the model. Without a detector, it is the one
//! of the model's task. `tests/reference/` reads all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Map, json};
use vision::media::{self, DecodeLimits};
use vision::model::Image;
use vision::registry::{Engine, Registry};
use vision::runtime::RuntimeOptions;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let models_dir = arguments.next().context("name the models folder")?;
    let out = arguments.next().context("name the folder to write to")?;
    let wanted = arguments.next().context("name the model")?;
    let registry = Registry::built_in()?;
    let (name, threshold) = wanted.split_once('@').map_or((&*wanted, None), |(name, number)| (name, Some(number)));
    let (detector, name) = name.split_once(':').map_or((None, name), |(detector, name)| (Some(detector), name));
    let mut model = registry.model(name).with_context(|| format!("there is no model {name}"))?.clone();
    if let (Engine::Boxes { settings, .. }, Some(number)) = (&mut model.engine, threshold) {
        settings.threshold = number.parse()?;
    }
    let classes = serde_json::to_vec(&model.labels())?;
    std::fs::write(Path::new(&out).join("classes.json"), classes)?;
    let detector = detector.unwrap_or(&model.task).parse()?;
    let dylib = std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH").map(PathBuf::from);
    let options = RuntimeOptions { dylib, ..RuntimeOptions::cpu(models_dir) };
    let mut detector = registry.open_model(&detector, &model, &options)?;
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
