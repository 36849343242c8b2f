//! The enrolled faces of a subject, one by one, without a model.

use bytes::Bytes;
use contracts::BlobKey;
use reqwest::{Method, StatusCode};
use serde_json::json;
use store::Blobs;

use crate::test_service::TestService;

#[tokio::test]
async fn a_wrong_face_is_deleted_alone_with_its_image() {
    let service = TestService::start(None).await;
    let (ann, ben) = (service.subject("a", "Ann").await, service.subject("a", "Ben").await);
    let (right, wrong) = (service.put_face("a", &ann, 1).await, service.put_face("a", &ben, 2).await);
    let tenant = "a".parse().unwrap();
    // That of a merged subject is kept under its earlier id.
    for (subject, id) in [(&ann, right), (&ben, wrong)] {
        let key = BlobKey::of_enrolled(&tenant, subject.parse().unwrap(), id);
        service.blobs.put(&key, Bytes::from_static(b"image")).await.unwrap();
    }
    let path = format!("/v1/faces/subjects/{ann}");
    let merged = service.json("a", Method::POST, &format!("{path}/merge"), json!({"from": ben})).await;
    assert_eq!((merged.0, &merged.1["faces"]), (StatusCode::OK, &json!(2)));
    let face = |id| json!({"id": id, "model": "mobilefacenet_128d", "image_kept": false});
    let listed = async || service.get("a", &format!("{path}/images")).await.1["items"].clone();
    assert_eq!(listed().await, json!([face(right), face(wrong)]));

    let delete = format!("{path}/images/{wrong}");
    assert_eq!(service.refused("a:faces:read", Method::DELETE, &delete, Vec::new()).await.0, 403);
    assert_eq!(service.send("a", Method::DELETE, &delete, Vec::new()).await.0, StatusCode::NO_CONTENT);

    assert_eq!(service.refused("a", Method::DELETE, &delete, Vec::new()).await, (404, "not_found".to_owned()));
    assert_eq!(listed().await, json!([face(right)]));
    assert_eq!(service.get("a", &path).await.1["faces"], 1);
    let (_, all) = service.get("a", "/v1/faces/subjects").await;
    assert_eq!((all["items"].as_array().unwrap().len(), &all["items"][0]["faces"]), (1, &json!(1)));
    assert_eq!(service.image_count(), 1, "its image is deleted, and that of the other face stays");
}
