//! Real photographs through real models: what a person counts is what is found.
//!
//! Needs `SIGHTLINE_SAMPLES_DIR` and `SIGHTLINE_MODELS_DIR`; without them each test says that it was skipped.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use detector_worker::media::{self, DecodeLimits};
use detector_worker::model::{Detector, Picture};
use detector_worker::registry::Registry;
use detector_worker::runtime::{ExecutionProvider, RuntimeOptions};

/// The samples and models folders, or `None` with a line that says what is missing.
fn folders(test: &str) -> Option<(PathBuf, PathBuf)> {
    let folder = |variable: &str| {
        let value = std::env::var_os(variable);
        if value.is_none() {
            println!("skipped: {test}: {variable} is not set");
        }
        value.map(PathBuf::from)
    };
    Some((folder("SIGHTLINE_SAMPLES_DIR")?, folder("SIGHTLINE_MODELS_DIR")?))
}

/// The runtime of `SIGHTLINE_ORT_DYLIB_PATH`, or of the usual places.
fn options(models: &Path) -> RuntimeOptions {
    RuntimeOptions {
        dylib: std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH").map(PathBuf::from),
        ..RuntimeOptions::cpu(models)
    }
}

/// The detector with that model, where the folder has it.
fn detector(test: &str, models: &Path, name: &str) -> Option<Box<dyn Detector>> {
    let registry = Registry::built_in().unwrap();
    let model = registry.model(name).unwrap();
    let file = models.join(&model.weights().unwrap().file);
    if !file.exists() {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no {}", file.display());
        return None;
    }
    Some(registry.open_model(&"face".parse().unwrap(), model, &options(models)).unwrap())
}

fn picture(path: &Path) -> Arc<Picture> {
    let encoded = std::fs::read(path).unwrap();
    let image = media::decode(&encoded, &DecodeLimits::default()).unwrap();
    Arc::new(Picture { image, encoded: encoded.into(), media_type: "image/jpeg" })
}

/// How many faces a person sees.
const PEOPLE: [(&str, usize); 8] = [
    ("faces/solvay_1927_29faces.jpg", 29),
    ("faces/obama_biden_2faces.jpg", 2),
    ("faces/astronaut_1face.png", 1),
    ("faces/obama_a.jpg", 1),
    ("faces/obama_b.jpg", 1),
    ("faces/obama_c.jpg", 1),
    ("faces/biden_a.jpg", 1),
    ("faces/biden_b.jpg", 1),
];

const NOBODY: [&str; 5] = [
    "vehicles/highway_1.jpg",
    "vehicles/highway_2_no_vehicle.jpg",
    "vehicles/highway_3.jpg",
    "vehicles/highway_4.jpg",
    "vehicles/highway_5.jpg",
];

#[test]
fn yunet_finds_every_face_once_and_none_where_there_is_none() {
    let test = "yunet_finds_every_face_once_and_none_where_there_is_none";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yunet) = detector(test, &models, "yunet_n") else { return };
    for (file, faces) in PEOPLE.into_iter().chain(NOBODY.map(|file| (file, 0))) {
        let picture = picture(&samples.join(file));
        let found = yunet.detect(std::slice::from_ref(&picture)).remove(0).unwrap();
        assert_eq!(found.len(), faces, "{file}");
        let (width, height) = (f64::from(picture.image.width()), f64::from(picture.image.height()));
        for face in &found {
            let bounds = face.bounds.unwrap();
            assert!(bounds.x >= 0.0 && bounds.x + bounds.width <= width + 0.01, "{file}: {bounds:?}");
            assert!(bounds.y >= 0.0 && bounds.y + bounds.height <= height + 0.01, "{file}: {bounds:?}");
            assert_eq!(face.landmarks.len(), 5, "{file}");
            face.check().unwrap();
        }
    }
}

#[test]
fn centerface_finds_every_face_once_and_none_where_there_is_none() {
    let test = "centerface_finds_every_face_once_and_none_where_there_is_none";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut centerface) = detector(test, &models, "centerface") else { return };
    for (file, faces) in PEOPLE.into_iter().chain(NOBODY.map(|file| (file, 0))) {
        let found = centerface.detect(&[picture(&samples.join(file))]).remove(0).unwrap();
        assert_eq!(found.len(), faces, "{file}");
    }
}

#[test]
fn a_batch_of_unlike_pictures_gives_each_the_answer_it_gets_alone() {
    let test = "a_batch_of_unlike_pictures_gives_each_the_answer_it_gets_alone";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yunet) = detector(test, &models, "yunet_n") else { return };
    let files = ["faces/obama_a.jpg", "vehicles/highway_1.jpg", "faces/solvay_1927_29faces.jpg", "faces/obama_a.jpg"];
    let batch: Vec<_> = files.iter().map(|file| picture(&samples.join(file))).collect();
    let together = yunet.detect(&batch);
    let alone: Vec<_> = batch.iter().flat_map(|picture| yunet.detect(std::slice::from_ref(picture))).collect();
    assert_eq!(together, alone);
    assert_eq!(together.iter().map(|answer| answer.as_ref().unwrap().len()).collect::<Vec<_>>(), [1, 0, 29, 1]);
}

#[test]
fn a_gpu_that_is_not_there_ends_the_start_instead_of_running_on_the_cpu() {
    let test = "a_gpu_that_is_not_there_ends_the_start_instead_of_running_on_the_cpu";
    let Some((_, models)) = folders(test) else { return };
    let registry = Registry::built_in().unwrap();
    for provider in [ExecutionProvider::Cuda, ExecutionProvider::Tensorrt] {
        if Path::new("/dev/nvidia0").exists() {
            println!("skipped: {test}: this machine has a GPU");
            return;
        }
        let options = RuntimeOptions { provider, ..options(&models) };
        let error = registry.open(&"face".parse().unwrap(), &options).err().unwrap().to_string();
        let start = format!("SIGHTLINE_EXECUTION_PROVIDER={}", provider.setting());
        assert!(error.starts_with(&start) && !error.contains('\n'), "{error}");
    }
}
