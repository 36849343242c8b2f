//! Real photographs and real models: detectors find as many objects as a person counts.
//!
//! Needs `SIGHTLINE_SAMPLES_DIR` and `SIGHTLINE_MODELS_DIR`. Without them, or without a model file, a test prints that it is
//! skipped.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use contracts::Detection;
use vision::media::{self, DecodeLimits};
use vision::model::{Detector, Image, Outcome};
use vision::registry::{Model, Registry};
use vision::runtime::{ExecutionProvider, RuntimeOptions};

/// Photographs of one person each that are good enough to enrol.
pub const PORTRAITS: [&str; 6] = [
    "faces/astronaut_1face.png",
    "faces/biden_a.jpg",
    "faces/biden_b.jpg",
    "faces/obama_a.jpg",
    "faces/obama_b.jpg",
    "faces/obama_c.jpg",
];

/// The samples and models folders; prints what is missing.
pub fn folders(test: &str) -> Option<(PathBuf, PathBuf)> {
    let folder = |variable: &str| {
        let value = std::env::var_os(variable);
        if value.is_none() {
            println!("skipped: {test}: {variable} is not set");
        }
        value.map(PathBuf::from)
    };
    Some((folder("SIGHTLINE_SAMPLES_DIR")?, folder("SIGHTLINE_MODELS_DIR")?))
}

/// CPU options with the library of `SIGHTLINE_ORT_DYLIB_PATH` or of the default paths.
pub fn options(models: &Path) -> RuntimeOptions {
    RuntimeOptions {
        dylib: std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH").map(PathBuf::from),
        ..RuntimeOptions::cpu(models)
    }
}

/// The detector with a built-in model; prints if the model's file is missing.
pub fn detector(test: &str, models: &Path, model: &str) -> Option<Box<dyn Detector>> {
    detector_of(&Registry::built_in().unwrap(), test, models, model)
}

/// The model, if its file is there; otherwise prints that it is missing.
pub fn installed<'a>(registry: &'a Registry, test: &str, models: &Path, model: &str) -> Option<&'a Model> {
    let model = registry.model(model).unwrap();
    let file = models.join(&model.weights().unwrap().file);
    if !file.exists() {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no {}", file.display());
        return None;
    }
    Some(model)
}

fn detector_of(registry: &Registry, test: &str, models: &Path, model: &str) -> Option<Box<dyn Detector>> {
    let model = installed(registry, test, models, model)?;
    Some(registry.open_model(&model.task.parse().unwrap(), model, &options(models)).unwrap())
}

/// As [`detector_of`], with four images per run.
fn batched(registry: &Registry, test: &str, models: &Path, model: &str) -> Option<Box<dyn Detector>> {
    detector_of(registry, test, models, model)?;
    let model = registry.model(model).unwrap();
    let options = RuntimeOptions { batch_size: Some(4), ..options(models) };
    Some(registry.open_model(&model.task.parse().unwrap(), model, &options).unwrap())
}

pub fn image(path: &Path) -> Arc<Image> {
    let encoded = std::fs::read(path).unwrap();
    let pixels = media::decode(&encoded, &DecodeLimits::default()).unwrap();
    Arc::new(Image { pixels, encoded: encoded.into(), media_type: "image/jpeg", embed_faces: true })
}

pub fn detections(detector: &mut dyn Detector, image: &Arc<Image>) -> Vec<Detection> {
    detector.detect(std::slice::from_ref(image)).remove(0).unwrap().detections
}

/// Photographs with the number of faces that a person counts.
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

/// Photographs without a face.
const NOBODY: [&str; 5] = [
    "vehicles/highway_1.jpg",
    "vehicles/highway_2_no_vehicle.jpg",
    "vehicles/highway_3.jpg",
    "vehicles/highway_4.jpg",
    "vehicles/highway_5.jpg",
];

#[test]
fn yunet_finds_every_face_once() {
    let test = "yunet_finds_every_face_once";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yunet) = detector(test, &models, "yunet_n") else { return };
    for (file, faces) in PEOPLE.into_iter().chain(NOBODY.map(|file| (file, 0))) {
        let image = image(&samples.join(file));
        let found = detections(&mut *yunet, &image);
        assert_eq!(found.len(), faces, "{file}");
        let (width, height) = (f64::from(image.pixels.width()), f64::from(image.pixels.height()));
        for face in &found {
            let bounds = face.bounds.unwrap();
            assert!(bounds.x >= 0.0 && bounds.x + bounds.width <= width + 0.01, "{file}: {bounds:?}");
            assert!(bounds.y >= 0.0 && bounds.y + bounds.height <= height + 0.01, "{file}: {bounds:?}");
            assert_eq!((face.label.as_str(), face.landmarks.len()), ("face", 5), "{file}");
            face.check().unwrap();
        }
    }
}

#[test]
fn centerface_finds_every_face_once() {
    let test = "centerface_finds_every_face_once";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut centerface) = detector(test, &models, "centerface") else { return };
    for (file, faces) in PEOPLE.into_iter().chain(NOBODY.map(|file| (file, 0))) {
        assert_eq!(detections(&mut *centerface, &image(&samples.join(file))).len(), faces, "{file}");
    }
}

/// Number of detections with this label.
fn count(found: &[Detection], label: &str) -> usize {
    found.iter().filter(|detection| detection.label == label).count()
}

#[test]
fn yolox_finds_objects_of_several_classes() {
    let test = "yolox_finds_objects_of_several_classes";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yolox) = detector(test, &models, "yolox_nano") else { return };
    let two_people = image(&samples.join("faces/obama_biden_2faces.jpg"));
    let found = detections(&mut *yolox, &two_people);
    assert_eq!(count(&found, "person"), 2, "{found:?}");
    let highway = detections(&mut *yolox, &image(&samples.join("vehicles/highway_1.jpg")));
    assert!(count(&highway, "car") >= 1 && count(&highway, "person") == 0, "{highway:?}");
    // The input contains the whole height of a wide image, and the boxes are in pixels of the original.
    for detection in found.iter().chain(&highway) {
        detection.check().unwrap();
        assert!(detection.confidence >= 0.35 && detection.landmarks.is_empty(), "{detection:?}");
    }
    let person = found.iter().find(|detection| detection.label == "person").unwrap().bounds.unwrap();
    assert!(person.height > f64::from(two_people.pixels.height()) / 2.0, "{person:?}");
}

#[test]
fn picodet_finds_objects_of_several_classes() {
    let test = "picodet_finds_objects_of_several_classes";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut picodet) = detector(test, &models, "picodet_s") else { return };
    let two_people = image(&samples.join("faces/obama_biden_2faces.jpg"));
    let found = detections(&mut *picodet, &two_people);
    assert_eq!(count(&found, "person"), 2, "{found:?}");
    // The image is stretched, so both scales matter for a box as high as the image.
    let person = found.iter().find(|detection| detection.label == "person").unwrap().bounds.unwrap();
    assert!(person.height > f64::from(two_people.pixels.height()) / 2.0 && person.height > person.width, "{person:?}");
    let highway = detections(&mut *picodet, &image(&samples.join("vehicles/highway_1.jpg")));
    assert!(count(&highway, "car") >= 2 && count(&highway, "person") == 0, "{highway:?}");
}

/// The detector `vehicle` with this model and this folder of models.
fn vehicles(test: &str, models: &Path, model: &str) -> Option<Box<dyn Detector>> {
    let registry = Registry::built_in().unwrap();
    let model = registry.model(model).unwrap();
    let file = models.join(&model.weights().unwrap().file);
    if !file.exists() {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no {}", file.display());
        return None;
    }
    Some(registry.open_model(&"vehicle".parse().unwrap(), model, &options(models)).unwrap())
}

#[test]
fn vehicles_have_their_class_as_category() {
    let test = "vehicles_have_their_class_as_category";
    let Some((samples, models)) = folders(test) else { return };
    // A folder with only the model that finds boxes.
    let folder = tempfile::tempdir().unwrap();
    for model in ["yolox_nano", "picodet_s"] {
        let file = Registry::built_in().unwrap().model(model).unwrap().weights().unwrap().file.clone();
        if models.join(&file).exists() {
            std::os::unix::fs::symlink(models.join(&file), folder.path().join(&file)).unwrap();
        }
        let Some(mut vehicle) = vehicles(test, folder.path(), model) else { return };
        let people = detections(&mut *vehicle, &image(&samples.join("faces/obama_biden_2faces.jpg")));
        assert_eq!(people, [], "{model}: no people among the vehicles");
        let cars = detections(&mut *vehicle, &image(&samples.join("vehicles/highway_1.jpg")));
        assert!(count(&cars, "car") >= 1, "{model}: {cars:?}");
        for car in &cars {
            assert_eq!(
                (car.attributes.category(), car.attributes.text("colour")),
                (Some(&*car.label), None),
                "{car:?}"
            );
        }
        let nothing = detections(&mut *vehicle, &image(&samples.join("vehicles/highway_2_no_vehicle.jpg")));
        assert_eq!(nothing, [], "{model}");
    }
}

/// The colour of each vehicle, with its left edge.
fn colours(outcome: &Outcome) -> Vec<(f64, Option<String>)> {
    let mut found: Vec<_> = outcome
        .as_ref()
        .unwrap()
        .detections
        .iter()
        .map(|found| (found.bounds.unwrap().x, found.attributes.text("colour").map(str::to_owned)))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

#[test]
fn vehicles_have_colours_in_a_batch_as_alone() {
    let test = "vehicles_have_colours_in_a_batch_as_alone";
    let Some((samples, models)) = folders(test) else { return };
    let crop_file = models.join("vehicle_attributes_0039.onnx");
    if !crop_file.exists() {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no {}", crop_file.display());
        return;
    }
    let Some(mut vehicle) = vehicles(test, &models, "yolox_nano") else { return };
    let files = ["vehicles/highway_1.jpg", "vehicles/highway_2_no_vehicle.jpg", "vehicles/highway_4.jpg"];
    // More crops than fit into one run.
    let batch: Vec<_> = files.iter().cycle().take(30).map(|file| image(&samples.join(file))).collect();
    let together = vehicle.detect(&batch);
    for (file, (image, outcome)) in files.iter().zip(batch.iter().zip(&together)) {
        assert_eq!(vehicle.detect(std::slice::from_ref(image)).remove(0), *outcome, "{file}");
    }
    assert_eq!(together[..3], together[27..]);
    // On the right of the first photograph are a black and a white car.
    let near: Vec<_> = colours(&together[0]).into_iter().rev().take(2).filter_map(|(_, colour)| colour).collect();
    assert_eq!(near, ["white", "black"]);
    vehicle.release_memory();
    assert_eq!(vehicle.detect(&batch[..3]), together[..3], "after it released its memory");
}

#[test]
fn a_second_model_of_a_known_kind_needs_only_an_entry() {
    let test = "a_second_model_of_a_known_kind_needs_only_an_entry";
    let Some((samples, models)) = folders(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("models.yaml");
    std::fs::write(
        &document,
        "
detectors: {face: [small]}
models:
  - {name: small, task: face, licence: Apache-2.0, commercial: true, input: image, output: faces, engine: {
      kind: yunet, file: yunet_s_dynamic.onnx, threshold: 0.6, nms_iou: 0.45, largest_side: 1920, gpu_batch: 1,
      sha256: daede24002cc8590f457998cc5e6c9e8b82f45f6bd969506a8913cd4ed10a2d3}}
  - {name: fixed, task: face, licence: MIT, commercial: true, input: image, output: faces, engine: {
      kind: yunet, file: face_detection_yunet_2023mar.onnx, threshold: 0.6, nms_iou: 0.45, largest_side: 640,
      gpu_batch: 1, sha256: 8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4}}
  - {name: traffic, task: objects, licence: Apache-2.0, commercial: true, input: image, output: cars, engine: {
      kind: yolox, file: yolox_nano_416_dynbatch.onnx, threshold: 0.35, nms_iou: 0.45, largest_side: 416, gpu_batch: 8,
      labels: [person, bicycle, car, motorcycle], classes: [car],
      sha256: 21c556065735032bccbfa3c31f13002533912e55719105ad105696134f92823a}}
",
    )
    .unwrap();
    let registry = Registry::from_file(&document).unwrap();
    let two_people = image(&samples.join("faces/obama_biden_2faces.jpg"));
    // The second file has an input of fixed size, 640 by 640.
    for model in ["small", "fixed"] {
        let Some(mut detector) = detector_of(&registry, test, &models, model) else { return };
        let found = detections(&mut *detector, &two_people);
        assert_eq!((found.len(), count(&found, "face")), (2, 2), "{model}: {found:?}");
    }
    let Some(mut traffic) = detector_of(&registry, test, &models, "traffic") else { return };
    // The file has 80 classes, but the entry names 4.
    let error = traffic.detect(&[two_people]).remove(0).unwrap_err().to_string();
    assert!(error.contains("3549, 85]") && error.contains("3549, 9]"), "{error}");
}

#[test]
fn an_image_has_the_same_outcome_in_a_batch_and_alone() {
    let test = "an_image_has_the_same_outcome_in_a_batch_and_alone";
    let Some((samples, models)) = folders(test) else { return };
    let files = ["faces/obama_a.jpg", "vehicles/highway_1.jpg", "faces/solvay_1927_29faces.jpg", "faces/obama_a.jpg"];
    let batch: Vec<_> = files.iter().map(|file| image(&samples.join(file))).collect();
    // YuNet also accepts any size, YOLOX-nano and PicoDet a batch of one size.
    for (model, counts) in [("yunet_n", Some([1, 0, 29, 1])), ("yolox_nano", None), ("picodet_s", None)] {
        let registry = Registry::built_in().unwrap();
        let Some(mut detector) = batched(&registry, test, &models, model) else { return };
        let together = detector.detect(&batch);
        let alone: Vec<_> = batch.iter().flat_map(|image| detector.detect(std::slice::from_ref(image))).collect();
        assert_eq!(together, alone, "{model}");
        detector.release_memory();
        assert_eq!(detector.detect(&batch), together, "{model}, after it released its memory");
        let found = together.iter().map(|outcome| outcome.as_ref().unwrap().detections.len());
        assert!(counts.is_none_or(|counts| found.eq(counts)), "{model}: {together:?}");
    }
}

#[test]
fn a_missing_gpu_ends_the_start() {
    let test = "a_missing_gpu_ends_the_start";
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

/// The embedding of the only face of a photograph, among one batch of all photographs.
fn only_embeddings(registry: &Registry, samples: &Path, models: &Path, model: &Model, files: &[&str]) -> Vec<Vec<f32>> {
    let mut detector = registry.open_with_embeddings(&"face".parse().unwrap(), model, &options(models)).unwrap();
    let batch: Vec<_> = files.iter().map(|file| image(&samples.join(file))).collect();
    let outcomes = detector.detect(&batch).into_iter().map(Outcome::unwrap);
    outcomes.map(|found| found.embeddings.into_values().next().unwrap()).collect()
}

#[test]
fn embeddings_of_one_person_are_closer_than_those_of_two() {
    let test = "embeddings_of_one_person_are_closer_than_those_of_two";
    let Some((samples, models)) = folders(test) else { return };
    let photographs: Vec<&str> = PEOPLE.iter().filter(|(_, faces)| *faces == 1).map(|(file, _)| *file).collect();
    let person = |file: &str| file.trim_start_matches("faces/").split('_').next().map(str::to_owned);
    let registry = Registry::built_in().unwrap();
    if installed(&registry, test, &models, "yunet_n").is_none() {
        return;
    }
    // The thresholds of 1 false match in 1,000 pairs: docs/MODELS.md.
    for (model, threshold) in [("mobilefacenet_128d", 0.339), ("face_reid_0095", 0.352)] {
        let Some(model) = installed(&registry, test, &models, model) else { continue };
        let embeddings = only_embeddings(&registry, &samples, &models, model, &photographs);
        for (index, one) in embeddings.iter().enumerate() {
            assert!((one.iter().map(|number| number * number).sum::<f32>() - 1.0).abs() < 1e-5);
            for (offset, other) in embeddings[index + 1..].iter().enumerate() {
                let similarity: f32 = one.iter().zip(other).map(|(a, b)| a * b).sum();
                let (first, second) = (photographs[index], photographs[index + 1 + offset]);
                assert_eq!(
                    similarity >= threshold,
                    person(first) == person(second),
                    "{}: {first} {second}: {similarity}",
                    model.name
                );
            }
        }
    }
}

#[test]
fn only_a_detector_that_is_opened_with_embeddings_makes_them() {
    let test = "only_a_detector_that_is_opened_with_embeddings_makes_them";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yunet) = detector(test, &models, "yunet_n") else { return };
    let found = yunet.detect(&[image(&samples.join("faces/obama_a.jpg"))]).remove(0).unwrap();
    assert_eq!((found.detections.len(), found.embeddings.len()), (1, 0));
}
