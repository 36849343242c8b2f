//! "Not this person".

use contracts::BoundingBox;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stored::SeenFrame;
use crate::test_service::TestService;

const BOX: BoundingBox = BoundingBox { x: 10.0, y: 10.0, width: 50.0, height: 50.0 };

async fn reject(service: &TestService, token: &str, frame: &SeenFrame) -> (StatusCode, Value) {
    service.send(token, Method::POST, &frame.reject(), Vec::new()).await
}

async fn undo(service: &TestService, token: &str, frame: &SeenFrame) -> (StatusCode, Value) {
    service.send(token, Method::DELETE, &frame.reject(), Vec::new()).await
}

#[tokio::test]
async fn a_rejected_detection_loses_its_subject_until_that_is_taken_back() {
    let service = TestService::start(None).await;
    let ann = service.subject("a", "Ann").await;
    let frame = service.seen("a", &ann, BOX, b"image".to_vec()).await;
    let recognised = (Some("subject".to_owned()), Some(ann.clone()));
    for refused in [reject(&service, "b", &frame).await, undo(&service, "b", &frame).await] {
        assert_eq!(refused.0, StatusCode::NOT_FOUND, "of another tenant");
    }
    assert_eq!(reject(&service, "a:faces:read", &frame).await.0, StatusCode::FORBIDDEN);
    assert_eq!(undo(&service, "a", &frame).await.0, StatusCode::NOT_FOUND, "it is not rejected");
    assert_eq!(service.identity(&frame).await, recognised);

    let expected = json!({
        "detection": frame.detection.to_string(), "subject": ann, "negative": null, "reason": "no_face_model",
    });
    for _ in 0..2 {
        assert_eq!(reject(&service, "a", &frame).await, (StatusCode::OK, expected.clone()));
        assert_eq!(service.identity(&frame).await, (Some("rejected".to_owned()), None));
        assert_eq!(service.alerted().await, [None], "its alert follows");
    }
    let (status, back) = undo(&service, "a", &frame).await;
    assert_eq!((status, &back["subject"], &back["negative"]), (StatusCode::OK, &json!(ann), &Value::Null));
    assert_eq!(service.identity(&frame).await, recognised);
    assert_eq!(service.alerted().await, [Some(ann)]);
}

#[tokio::test]
async fn only_a_recognised_face_can_be_rejected() {
    let service = TestService::start(None).await;
    let ann = service.subject("a", "Ann").await;
    let frame = service.seen("a", &ann, BOX, b"image".to_vec()).await;
    let unknown = frame.reject().replace("-face-0/", "-face-7/");
    let not_found = (404, "not_found".to_owned());
    assert_eq!(service.refused("a", Method::POST, &unknown, Vec::new()).await, not_found);
    let invalid = service.refused("a", Method::POST, "/v1/detections/1/reject", Vec::new()).await;
    assert_eq!(invalid, (422, "invalid".to_owned()));
    reject(&service, "a", &frame).await;
    let (_, receipt) = service.send("a", Method::DELETE, &format!("/v1/faces/subjects/{ann}"), Vec::new()).await;
    assert_eq!((&receipt["detections"], &receipt["images"]), (&json!(1), &json!(0)), "the image is of somebody else");
    // The subject is forgotten, also as the one that was rejected.
    let refused = service.refused("a", Method::POST, &frame.reject(), Vec::new()).await;
    assert_eq!(refused, (409, "not_recognised".to_owned()));
    assert_eq!(service.refused("a", Method::DELETE, &frame.reject(), Vec::new()).await, not_found);
}

#[tokio::test]
async fn a_rejected_face_is_not_that_person_from_then_on() {
    let Some((service, faces)) = TestService::with_models("a_rejected_face").await else { return };
    let image = |name: &str| std::fs::read(faces.join(name)).unwrap();
    let obama = service.subject("a", "Obama").await;
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    // The box of the face, as the detector finds it.
    let scratch = service.subject("c", "Scratch").await;
    let path = format!("/v1/faces/subjects/{scratch}/images");
    let (_, found) = service.send("c", Method::POST, &path, image("obama_b.jpg")).await;
    let bounds: BoundingBox = serde_json::from_value(found["box"].clone()).unwrap();
    let frame = service.seen("a", &obama, bounds, image("obama_b.jpg")).await;
    let matches = async || {
        let (_, found) = service.send("a", Method::POST, "/v1/faces/search", image("obama_b.jpg")).await;
        found["matches"].as_array().unwrap().len()
    };
    assert_eq!(matches().await, 1);

    let (status, rejected) = reject(&service, "a", &frame).await;

    assert_eq!(status, StatusCode::OK, "{rejected}");
    assert!(rejected["negative"].is_string() && rejected.get("reason").is_none(), "{rejected}");
    assert_eq!(reject(&service, "a", &frame).await.1, rejected);
    assert_eq!(matches().await, 0);
    let path = format!("/v1/faces/verify?subject={obama}");
    let (_, verdict) = service.send("a", Method::POST, &path, image("obama_b.jpg")).await;
    assert_eq!((&verdict["same"], &verdict["reason"]), (&json!(false), &json!("rejected")), "{verdict}");
    let (_, back) = undo(&service, "a", &frame).await;
    assert_eq!(back["negative"], rejected["negative"]);
    assert_eq!(matches().await, 1);
    assert_eq!(service.identity(&frame).await, (Some("subject".to_owned()), Some(obama.clone())));

    let elsewhere = BoundingBox { x: bounds.x + 2.0 * bounds.width, ..bounds };
    let other = service.seen("a", &obama, elsewhere, image("obama_b.jpg")).await;
    assert_eq!(reject(&service, "a", &other).await.1["reason"], "face_not_found");
    store::Blobs::delete(&*service.blobs, &frame.image).await.unwrap();
    assert_eq!(reject(&service, "a", &frame).await.1["reason"], "image_not_kept");
    assert_eq!(matches().await, 1, "without a negative, the face is taken for the subject again");
}

#[tokio::test]
async fn a_face_of_a_merged_subject_becomes_a_negative_of_the_one_that_stays() {
    let Some((service, faces)) = TestService::with_models("a_face_of_a_merged_subject").await else { return };
    let image = || std::fs::read(faces.join("obama_b.jpg")).unwrap();
    let (obama, earlier) = (service.subject("a", "Obama").await, service.subject("a", "Barack").await);
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    // The box of the face, as the detector finds it.
    let scratch = service.subject("c", "Scratch").await;
    let path = format!("/v1/faces/subjects/{scratch}/images");
    let (_, found) = service.send("c", Method::POST, &path, image()).await;
    let bounds: BoundingBox = serde_json::from_value(found["box"].clone()).unwrap();
    let frame = service.seen("a", &earlier, bounds, image()).await;
    let merge = format!("/v1/faces/subjects/{obama}/merge");
    assert_eq!(service.json("a", Method::POST, &merge, json!({"from": earlier})).await.0, StatusCode::OK);
    let matches = async || {
        let (_, found) = service.send("a", Method::POST, "/v1/faces/search", image()).await;
        found["matches"].as_array().unwrap().len()
    };
    assert_eq!(matches().await, 1);

    let (status, rejected) = reject(&service, "a", &frame).await;

    assert_eq!((status, &rejected["subject"]), (StatusCode::OK, &json!(earlier)), "{rejected}");
    assert!(rejected["negative"].is_string() && rejected.get("reason").is_none(), "{rejected}");
    assert_eq!(matches().await, 0, "it is not the one that stays");
    assert_eq!(reject(&service, "a", &frame).await.1, rejected);
    assert_eq!(undo(&service, "a", &frame).await.1["negative"], rejected["negative"]);
    assert_eq!(matches().await, 1);
}
