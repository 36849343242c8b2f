//! The built-in document, documents of operators, and pulling from a local server.

use axum::Router;
use axum::routing::get;

use models::{BUILT_IN, sha256};

use super::*;

fn face() -> DetectorName {
    "face".parse().unwrap()
}

/// A registry with one model `tiny`, whose file has this content and these sources.
fn registry(content: &[u8], sources: &str, extra: &str) -> Registry {
    let hash = sha256(content);
    let text = format!(
        "detectors: {{face: [tiny]}}\nmodels:\n  - {{name: tiny, task: face, licence: MIT, commercial: true, input: i, \
         output: o, engine: {{kind: yunet, file: tiny.onnx, sha256: '{hash}', threshold: 0.6, nms_iou: 0.45, \
         largest_side: 640, gpu_batch: 1, sources: [{sources}]{extra}}}}}\n"
    );
    Registry::parse("test.yaml", &text).unwrap()
}

/// Serves one file and returns its source entry.
async fn served(content: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/tiny.onnx", get(move || async move { content }));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("{{url: 'http://{address}/tiny.onnx'}}")
}

#[test]
fn built_in_detectors_have_a_model_for_commercial_use() {
    let registry = Registry::built_in().unwrap();
    for entry in registry.detectors.values() {
        assert!(entry.models.iter().any(|name| registry.model(name).unwrap().commercial));
    }
    for model in &registry.models {
        let weights = model.weights().unwrap();
        assert!(weights.sha256.len() == 64, "{}", weights.file);
        // A detector works without its crop and embedding models, but not without a model that finds boxes.
        assert!(model.engine.role() != Role::Boxes || !weights.sources.is_empty(), "{}", weights.file);
    }
}

#[test]
fn a_missing_model_is_named_with_setting_and_command() {
    let folder = tempfile::tempdir().unwrap();
    let options = RuntimeOptions::cpu(folder.path());
    let error = Registry::built_in().unwrap().open(&face(), &options).err().unwrap().to_string();
    let command = format!("`sightline models pull --detectors face --models-dir {}`", folder.path().display());
    for part in ["SIGHTLINE_MODELS_DIR", &command, "yunet_n_dynamic.onnx or centerface.onnx"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains('\n'));
}

#[test]
fn a_file_with_another_hash_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("yunet_n_dynamic.onnx"), "another").unwrap();
    let error = Registry::built_in().unwrap().open(&face(), &RuntimeOptions::cpu(folder.path())).err().unwrap();
    assert!(matches!(error, OpenError::Model(ModelError::WrongModel { .. })), "{error}");
}

#[test]
fn an_unknown_detector_is_named_with_the_known_ones() {
    let registry = Registry::built_in().unwrap();
    let error = registry.chosen(&"unicorn".parse().unwrap(), Path::new(".")).unwrap_err().to_string();
    assert!(error.contains("`unicorn`") && error.contains("face"), "{error}");
}

#[test]
fn a_noncommercial_licence_needs_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.onnx"), "another").unwrap();
    let mut registry = registry(b"model", "", "");
    registry.models[0].commercial = false;
    let mut options = RuntimeOptions::cpu(folder.path());
    assert!(matches!(registry.open(&face(), &options).err().unwrap(), OpenError::Model(ModelError::Licence { .. })));
    options.allow_noncommercial = true;
    assert!(matches!(registry.open(&face(), &options).err().unwrap(), OpenError::Model(ModelError::WrongModel { .. })));
}

#[test]
fn invalid_documents_are_refused_with_the_file() {
    let text = BUILT_IN.replace("models: [yunet_n", "models: [yunet_x");
    assert!(Registry::parse("mine.yaml", &text).unwrap_err().to_string().contains("mine.yaml"));
    for (from, to) in [
        ("threshold: 0.6", "threshold: 60"),
        ("largest_side: 1920", "largest_side: 3"),
        ("second_look_from: 420", "second_look_from: 3"),
        ("file: yunet_n_dynamic.onnx", "file: ../yunet.onnx"),
        ("kind: yunet", "kind: unknown"),
        ("kind: yunet", "kind: 7"),
        ("labels: [face]", "labels: [face, body]"),
        ("labels: [face]", "labels: ['']"),
        ("labels: [face]", r#"labels: ["face\r"]"#),
        ("kind: yolox", "kind: yolox\n      classes: [unicorn]"),
        ("nms_iou: 0.45", "nms: 0.45"),
        ("classes: [car,", "classes: [unicorn,"),
        ("label_nms_iou: 0.7", "label_nms_iou: 70"),
        ("label_attribute: category", "label_attribute: Category"),
        ("label_attribute:", "attribute:"),
        ("crop_models: [vehicle_attributes_0039]", "crop_models: [yolox_nano]"),
        ("crop_models: [vehicle_attributes_0039]", "crop_models: [unicorn]"),
        ("models: [yunet_n", "models: [vehicle_attributes_0039"),
        ("models: [yunet_n", "models: [mobilefacenet_128d"),
        ("embedding_models: [face_reid_0095", "embedding_models: [yunet_n"),
        ("embedding_models: [face_reid_0095", "embedding_models: [unicorn"),
        ("smallest_side: 20", "threshold: 0.2"),
        ("labels: [white, gray,", "labels: [white,"),
        ("file: yolox_nano_416.onnx", "file: ../yolox_nano_416.onnx"),
    ] {
        assert!(BUILT_IN.contains(from));
        assert!(Registry::parse("mine.yaml", &BUILT_IN.replace(from, to)).is_err(), "{to}");
    }
}

/// The labels that a detector reports with a model.
fn reported(registry: &Registry, model: &str, detector: Option<&DetectorEntry>) -> Vec<Option<String>> {
    let model = registry.model(model).unwrap();
    let Engine::Boxes { settings, .. } = &model.engine else { panic!("{} finds no boxes", model.name) };
    settings.tuning(&model.task, detector).labels
}

#[test]
fn the_task_is_the_label_of_a_model_without_labels() {
    assert_eq!(reported(&registry(b"model", "", ""), "tiny", None), [Some("face".to_owned())]);
    assert_eq!(reported(&registry(b"model", "", ", labels: [head]"), "tiny", None), [Some("head".to_owned())]);
}

#[test]
fn classes_restrict_the_reported_labels_and_keep_their_indices() {
    let by_index = |labels: Vec<Option<String>>| -> Vec<(usize, String)> {
        assert_eq!(labels.len(), 80);
        labels.into_iter().enumerate().filter_map(|(index, label)| Some((index, label?))).collect()
    };
    let expected = |labels: &[(usize, &str)]| -> Vec<(usize, String)> {
        labels.iter().map(|(index, label)| (*index, (*label).to_owned())).collect()
    };
    let text = BUILT_IN.replace("kind: yolox", "kind: yolox\n      classes: [bus, person, car]");
    let of_model = Registry::parse("mine.yaml", &text).unwrap();
    let labels = by_index(reported(&of_model, "yolox_nano", None));
    assert_eq!(labels, expected(&[(0, "person"), (2, "car"), (5, "bus")]));

    let vehicle = Some(&of_model.detectors[&"vehicle".parse::<DetectorName>().unwrap()]);
    let labels = by_index(reported(&of_model, "yolox_nano", vehicle));
    assert_eq!(labels, expected(&[(2, "car"), (5, "bus")]));
    let labels = by_index(reported(&of_model, "picodet_s", vehicle));
    assert_eq!(labels, expected(&[(2, "car"), (3, "motorcycle"), (5, "bus"), (7, "truck")]));
}

#[test]
fn a_detector_without_the_file_of_its_crop_model_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, vehicle) = (Registry::built_in().unwrap(), "vehicle".parse().unwrap());
    let missing = registry.missing_crop_models(&vehicle, folder.path());
    let described: Vec<String> = missing.into_iter().map(Model::described).collect();
    assert_eq!(described, ["vehicle_attributes_0039 (vehicle_attributes_0039.onnx)"]);
    std::fs::write(folder.path().join("vehicle_attributes_0039.onnx"), "any").unwrap();
    assert_eq!(registry.missing_crop_models(&vehicle, folder.path()).len(), 0);
    assert_eq!(registry.missing_crop_models(&face(), folder.path()).len(), 0);
}

#[tokio::test]
async fn a_second_pull_fetches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dead = "{url: 'http://127.0.0.1:1/tiny.onnx'}";
    let registry = registry(b"model", &format!("{dead}, {}", served(b"model").await), "");

    let pulled = registry.pull(folder.path(), &[face()], &[], false).await.unwrap().models;
    assert_eq!(std::fs::read(folder.path().join("tiny.onnx")).unwrap(), b"model");
    assert!(pulled[0].source.is_some() && pulled[0].failed.len() == 1, "{pulled:?}");

    let again = registry.pull(folder.path(), &[], &["tiny".to_owned()], false).await.unwrap().models;
    assert_eq!((&again[0].source, again[0].failed.len()), (&None, 0));
}

#[tokio::test]
async fn a_file_with_the_wrong_hash_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(b"model", &served(b"another").await, "");
    let error = registry.pull(folder.path(), &[face()], &[], false).await.unwrap_err().to_string();
    assert!(error.contains("wrong file"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_rewritten_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let rewrite = format!(", rewrite: {{sha256_before: '{}', dimensions: {{input: [batch]}}}}", sha256(b"<html>"));
    let registry = registry(b"<html>", &served(b"<html>").await, &rewrite);
    let error = registry.pull(folder.path(), &[face()], &[], false).await.unwrap_err().to_string();
    assert!(error.contains("not an ONNX model"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_crop_model_that_no_source_delivers_is_named_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut registry = registry(b"model", &served(b"model").await, "");
    registry.models.push(Registry::built_in().unwrap().model("vehicle_attributes_0039").unwrap().clone());
    registry.detectors.get_mut(&face()).unwrap().crop_models = vec!["vehicle_attributes_0039".to_owned()];
    let pull = registry.pull(folder.path(), &[face()], &[], false).await.unwrap();
    assert_eq!(pull.models.len(), 1);
    let [without] = pull.without.as_slice() else { panic!("one crop model, not {:?}", pull.without) };
    for part in ["the detector `face`", "vehicle_attributes_0039.onnx", "sha256", folder.path().to_str().unwrap()] {
        assert!(without.contains(part), "{without}");
    }
}

#[tokio::test]
async fn a_model_that_nobody_publishes_is_named_with_the_file_to_copy() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::built_in().unwrap();
    for name in ["face_reid_0095", "vehicle_attributes_0039"] {
        let error = registry.pull(folder.path(), &[], &[name.to_owned()], false).await.unwrap_err().to_string();
        let weights = registry.model(name).unwrap().weights().unwrap();
        for part in [name, &weights.file, &weights.sha256, folder.path().to_str().unwrap(), "nobody publishes it"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn a_detector_whose_models_all_need_another_licence_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut registry = registry(b"model", &served(b"model").await, "");
    registry.models[0].commercial = false;
    let error = registry.pull(folder.path(), &[face()], &[], false).await.unwrap_err().to_string();
    assert!(error.contains("the detector `face`") && error.contains("SIGHTLINE_ALLOW_NONCOMMERCIAL"), "{error}");
    assert_eq!(registry.pull(folder.path(), &[face()], &[], true).await.unwrap().models.len(), 1);
}

#[tokio::test]
async fn a_file_in_the_models_folder_is_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(b"model", "{url: 'http://127.0.0.1:1/tiny.onnx'}, {file: laid.onnx}", "");
    assert!(registry.pull(folder.path(), &[face()], &[], false).await.is_err());
    std::fs::write(folder.path().join("laid.onnx"), "another").unwrap();
    let error = registry.pull(folder.path(), &[face()], &[], false).await.unwrap_err().to_string();
    assert!(error.contains("the file laid.onnx in the models folder: wrong file"), "{error}");
    std::fs::write(folder.path().join("laid.onnx"), "model").unwrap();
    let pulled = registry.pull(folder.path(), &[face()], &[], false).await.unwrap().models;
    assert_eq!(pulled[0].source.as_deref(), Some("the file laid.onnx in the models folder"));
    assert_eq!(std::fs::read(folder.path().join("tiny.onnx")).unwrap(), b"model");
}

#[tokio::test]
async fn pulling_an_unknown_model_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let error =
        Registry::built_in().unwrap().pull(folder.path(), &[], &["unicorn".to_owned()], false).await.unwrap_err();
    assert!(error.to_string().contains("`unicorn`"), "{error}");
}

#[test]
fn the_first_embedding_model_that_is_there_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::built_in().unwrap();
    let chosen = |detector: &str| registry.embedding_model(&detector.parse().unwrap(), folder.path());
    let error = chosen("face").unwrap_err().to_string();
    for part in ["face_reid_0095 (face_reid_0095.onnx) or mobilefacenet_128d (", "sightline models pull"] {
        assert!(error.contains(part), "{error}");
    }
    std::fs::write(folder.path().join("mobilefacenet_128d_batch.onnx"), "").unwrap();
    assert_eq!(chosen("face").unwrap().name, "mobilefacenet_128d");
    std::fs::write(folder.path().join("face_reid_0095.onnx"), "").unwrap();
    assert_eq!(chosen("face").unwrap().name, "face_reid_0095");
    assert!(chosen("vehicle").is_err());
}
