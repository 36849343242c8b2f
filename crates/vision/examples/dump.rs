//! Writes decoded pixels and detections to files, for comparison with other implementations:
//! `cargo run --release -p vision --example dump -- MODELS_DIR OUT [DETECTOR:]MODEL[@THRESHOLD] FILE...`
//!
//! `OUT/<name>.rgb` contains the decoded pixels of each file as packed RGB. `OUT/<[DETECTOR:]MODEL[@THRESHOLD]>.json` contains, by
//! file name, the size of the image and its detections; `OUT/classes.json` the labels of the model. Without a detector, it is the one
//! of the model's task. `tests/reference/` reads all of them.

mod dumped;

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, json};
use vision::registry::{Engine, Registry};

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
    let classes = serde_json::to_vec(&model.engine.labels(&model.task))?;
    std::fs::write(Path::new(&out).join("classes.json"), classes)?;
    let detector = detector.unwrap_or(&model.task).parse()?;
    let mut detector = registry.open_model(&detector, &model, &dumped::options(models_dir))?;
    let mut report = Map::new();
    for path in arguments {
        let (name, image) = dumped::image(&path, &out)?;
        let (width, height) = (image.pixels.width(), image.pixels.height());
        let detections = detector.detect(&[image]).remove(0)?.detections;
        report.insert(name, json!({ "width": width, "height": height, "detections": detections }));
    }
    std::fs::write(Path::new(&out).join(format!("{wanted}.json")), serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}
