//! Writes faces with their aligned crops and embeddings to files, for comparison with other implementations:
//! `cargo run --release -p vision --example dump_embeddings -- MODELS_DIR OUT EMBEDDING_MODEL FILE...`
//!
//! `OUT/<name>.rgb` contains the decoded pixels of each file as packed RGB. `OUT/<MODEL>.json` contains, by file name, the size of the
//! image and its faces, each with its box, landmarks, embedding, quality, and the file name of its aligned crop: three colour planes of
//! 32-bit numbers in the byte order of this machine, levels from 0 to 255. `tests/reference/` and the script for pairs of faces read them.
//! The quality is null for a face that cannot be measured.

mod dumped;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use vision::face_quality::FaceQuality;
use vision::registry::{Engine, Registry};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let models_dir = arguments.next().context("name the models folder")?;
    let out = arguments.next().context("name the folder to write to")?;
    let name = arguments.next().context("name the embedding model")?;
    let registry = Registry::built_in()?;
    let model = registry.model(&name).with_context(|| format!("there is no model {name}"))?;
    let Engine::Embeddings { network, .. } = &model.engine else { anyhow::bail!("{name} makes no embeddings") };
    let mut detector = registry.open_with_embeddings(&"face".parse()?, model, &dumped::options(models_dir))?;
    let mut report = Map::new();
    for path in arguments {
        let (file, image) = dumped::image(&path, &out)?;
        let found = detector.detect(&[Arc::clone(&image)]).remove(0)?;
        let mut faces = Vec::new();
        for (index, face) in found.detections.iter().enumerate() {
            let Some(embedding) = found.embeddings.get(&index) else { continue };
            let planes =
                network.aligned(&image.pixels, &face.landmarks).context("a face with an embedding is aligned")?;
            let crop = format!("{file}.{name}.{index}.f32");
            let bytes: Vec<u8> = planes.iter().flat_map(|level| level.to_ne_bytes()).collect();
            std::fs::write(Path::new(&out).join(&crop), bytes)?;
            let quality = FaceQuality::measure(&image.pixels, face).map_or(Value::Null, |found| figures(&found));
            faces.push(json!({
                "box": face.bounds,
                "landmarks": face.landmarks,
                "embedding": embedding,
                "quality": quality,
                "crop": crop,
            }));
        }
        let (width, height) = (image.pixels.width(), image.pixels.height());
        report.insert(file, json!({ "width": width, "height": height, "faces": faces }));
    }
    std::fs::write(Path::new(&out).join(format!("{name}.json")), serde_json::to_vec(&report)?)?;
    Ok(())
}

fn figures(quality: &FaceQuality) -> Value {
    let FaceQuality { size, sharpness, yaw, pitch, roll, brightness, contrast } = quality;
    json!({
        "size": size,
        "sharpness": sharpness,
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "brightness": brightness,
        "contrast": contrast,
    })
}
