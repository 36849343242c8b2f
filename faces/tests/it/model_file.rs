//! Files of models that are damaged, other ones, or missing.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::test_service::TestService;

const SEARCH: &str = "/v1/faces/search";
const DETECTORS: [&str; 2] = ["yunet_n_dynamic.onnx", "centerface.onnx"];
const EMBEDDINGS: [&str; 2] = ["face_reid_0095.onnx", "mobilefacenet_128d_batch.onnx"];

/// What `/readyz` says of the models; the service is ready with each of them.
async fn note(service: &TestService) -> String {
    let (status, ready) = service.get("a", "/readyz").await;
    assert_eq!((status, &ready["status"]), (StatusCode::OK, &json!("ok")), "{ready}");
    ready["checks"]["face models"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_that_is_no_model_is_named_with_the_command_that_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let [detector, embedding] = [folder.path().join(DETECTORS[0]), folder.path().join(EMBEDDINGS[1])];
    let service = TestService::start(Some(folder.path())).await;
    assert_eq!(note(&service).await, "no model finds faces: sightline models pull");
    std::fs::write(&detector, "<html>404</html>").unwrap();
    assert_eq!(note(&service).await, "no model compares faces: sightline models pull mobilefacenet_128d");
    std::fs::write(&embedding, "<html>404</html>").unwrap();
    assert_eq!(note(&service).await, "the file of yunet_n is damaged, or another one: sightline models pull yunet_n");
    let image = b"\x89PNG\r\n\x1a\n".to_vec();
    for _ in 0..2 {
        let (status, problem) = service.send("a", Method::POST, SEARCH, image.clone()).await;
        let expected = (StatusCode::SERVICE_UNAVAILABLE, &json!("face_model_unusable"));
        assert_eq!((status, &problem["code"]), expected, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("sightline models pull"), "{detail}");
        assert!(!detail.contains(folder.path().to_str().unwrap()), "it names a folder of the server: {detail}");
    }
    std::fs::remove_file(embedding).unwrap();
    assert_eq!(service.refused("a", Method::POST, SEARCH, image).await, (503, "no_face_model".to_owned()));
}

/// Needs `SIGHTLINE_SAMPLES_DIR`, and models in `SIGHTLINE_MODELS_DIR`.
#[tokio::test]
async fn a_damaged_model_compares_without_a_restart_once_it_is_replaced() {
    let Some((models, faces)) = TestService::models("a_damaged_model_compares_without_a_restart") else { return };
    let folder = tempfile::tempdir().unwrap();
    for file in DETECTORS.iter().filter(|file| models.join(file).exists()) {
        std::fs::copy(models.join(file), folder.path().join(file)).unwrap();
    }
    let embedding = EMBEDDINGS.iter().find(|file| models.join(file).exists()).unwrap();
    let whole = std::fs::read(models.join(embedding)).unwrap();
    std::fs::write(folder.path().join(embedding), &whole[..whole.len() - 1]).unwrap();
    let service = TestService::start(Some(folder.path())).await;
    let image = std::fs::read(faces.join("obama_a.jpg")).unwrap();
    let refused = service.refused("a", Method::POST, SEARCH, image.clone()).await;
    assert_eq!(refused, (503, "face_model_unusable".to_owned()));
    let damaged = note(&service).await;
    assert!(damaged.starts_with("the file of ") && damaged.contains(" is damaged"), "{damaged}");

    std::fs::write(folder.path().join(embedding), whole).unwrap();

    let (status, found) = service.send("a", Method::POST, SEARCH, image).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    let expected = format!("{} compares the faces that ", found["model"].as_str().unwrap());
    let replaced = note(&service).await;
    assert!(replaced.starts_with(&expected), "{replaced}");
}
