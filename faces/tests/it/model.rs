//! The model that compares is changed while faces are compared. Need `SIGHTLINE_SAMPLES_DIR` and both models for embeddings in
//! `SIGHTLINE_MODELS_DIR`.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use contracts::{BoundingBox, SubjectId};
use gallery::GalleryKey;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::relational::SwitchOutcome;
use uuid::Uuid;

use crate::test_service::TestService;

const KEEP: &[&str] = &["--faces-keep-images", "on"];
const MODEL: &str = "/v1/faces/model";
/// The model that is preferred, and the other one. Their embeddings have 256 and 128 numbers, so a comparison across them fails.
const FIRST: &str = "face_reid_0095";
const OTHER: &str = "mobilefacenet_128d";

async fn change(service: &TestService, body: Value) -> Value {
    let (status, answer) = service.json("a:admin", Method::PUT, MODEL, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn status(service: &TestService) -> Value {
    let (status, answer) = service.get("a:admin", MODEL).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// Waits for a status.
async fn until(service: &TestService, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let found = status(service).await;
        if is(&found) {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{what}: {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn compares_with(model: &'static str) -> impl Fn(&Value) -> bool {
    move |status| status["active"] == model && status["target"] == Value::Null
}

/// The ids of a subject's vectors of a model.
async fn vectors(service: &TestService, model: &str, subject: &str) -> BTreeSet<Uuid> {
    let key = GalleryKey { tenant: "a".parse().unwrap(), model: model.to_owned() };
    let found = service.database.vectors_of_subject(&key, subject.parse::<SubjectId>().unwrap()).await.unwrap();
    found.iter().map(|vector| vector.id.uuid()).collect()
}

async fn search(service: &TestService, image: &Path) -> Value {
    let (status, found) = service.send("a", Method::POST, "/v1/faces/search", std::fs::read(image).unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    found
}

#[tokio::test]
async fn the_model_is_changed_and_changed_back_while_faces_are_searched() {
    let name = "the_model_is_changed_and_changed_back";
    let Some((service, faces)) = TestService::with_both_models(name, KEEP).await else { return };
    let (obama, biden) = (service.subject("a", "Obama").await, service.subject("a", "Biden").await);
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    service.enrol("a", &biden, &faces.join("biden_a.jpg")).await;
    assert!(compares_with(FIRST)(&status(&service).await));
    let (done, models) = (Cell::new(false), Cell::new(BTreeSet::new()));
    let searches = async {
        while !done.get() {
            for (image, subject) in [("obama_b.jpg", &obama), ("biden_b.jpg", &biden)] {
                let found = search(&service, &faces.join(image)).await;
                assert_eq!(found["matches"][0]["subject"], subject.as_str(), "{found}");
                assert_eq!(found["matches"].as_array().unwrap().len(), 1, "{found}");
                let mut seen = models.take();
                seen.insert(found["model"].as_str().unwrap().to_owned());
                models.set(seen);
            }
        }
    };
    let changes = async {
        change(&service, json!({"model": OTHER})).await;
        let changed = until(&service, "the other model compares", compares_with(OTHER)).await;
        assert_eq!(changed["faces"], json!({"total": 2, "embedded": 2, "missing": 0}));
        let back = change(&service, json!({"model": FIRST})).await;
        assert!(compares_with(FIRST)(&back), "its vectors are still there: {back}");
        assert!(compares_with(OTHER)(&change(&service, json!({"model": OTHER})).await), "and those of the other");
        // It is enrolled for the other model alone, so that the way back has something to do.
        service.enrol("a", &obama, &faces.join("obama_c.jpg")).await;
        change(&service, json!({"model": FIRST})).await;
        until(&service, "the first model compares again", compares_with(FIRST)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        done.set(true);
    };
    futures::join!(searches, changes);
    assert_eq!(models.take(), [FIRST, OTHER].map(str::to_owned).into());
    assert_eq!(vectors(&service, FIRST, &obama).await.len(), 2);
    assert_eq!(vectors(&service, FIRST, &obama).await, vectors(&service, OTHER, &obama).await, "under the same ids");
    let path = format!("/v1/faces/subjects/{obama}/images");
    for image in ["obama_a.jpg", "obama_c.jpg"] {
        let image = std::fs::read(faces.join(image)).unwrap();
        assert_eq!(service.send("a", Method::POST, &path, image).await.0, StatusCode::OK, "it is enrolled already");
    }
}

#[tokio::test]
async fn a_change_names_whom_it_would_lose_and_waits() {
    let Some((service, faces)) = TestService::with_both_models("a_change_names_whom_it_would_lose", &[]).await else {
        return;
    };
    let obama = service.subject("a", "Obama").await;
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    change(&service, json!({"model": OTHER})).await;
    let waiting =
        until(&service, "it is known that the image was not kept", |found| found["subjects_without"] == 1).await;
    let expected = json!([{"tenant": "a", "subject": obama, "faces": 1, "reason": "image_not_kept"}]);
    assert_eq!((&waiting["without"], &waiting["faces"]["missing"]), (&expected, &json!(1)));
    assert_eq!((&waiting["active"], &waiting["target"]), (&json!(FIRST), &json!(OTHER)));
    // Another subject has both vectors at once, although no image is kept.
    let biden = service.subject("a", "Biden").await;
    service.enrol("a", &biden, &faces.join("biden_a.jpg")).await;
    assert_eq!(vectors(&service, FIRST, &biden).await, vectors(&service, OTHER, &biden).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(status(&service).await["active"], FIRST);
    assert!(compares_with(FIRST)(&change(&service, json!({"model": FIRST})).await), "the change is ended");

    change(&service, json!({"model": OTHER, "without_missing": true})).await;
    until(&service, "the other model compares", compares_with(OTHER)).await;
    assert_eq!(search(&service, &faces.join("obama_b.jpg")).await["matches"], json!([]), "the subject has no face");
    assert_eq!(search(&service, &faces.join("biden_b.jpg")).await["matches"][0]["subject"], biden.as_str());
    assert!(compares_with(FIRST)(&change(&service, json!({"model": FIRST})).await));
    assert_eq!(search(&service, &faces.join("obama_b.jpg")).await["matches"][0]["subject"], obama.as_str());
}

/// A process that ended has its lease until a time in the past.
#[tokio::test]
async fn a_change_whose_process_ended_is_finished_and_loses_no_enrolment() {
    let Some((service, faces)) = TestService::with_both_models("a_change_whose_process_ended", KEEP).await else {
        return;
    };
    let (obama, biden) = (service.subject("a", "Obama").await, service.subject("a", "Biden").await);
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    service.database.begin_model_change(FIRST, OTHER, false, now).await.unwrap();
    assert!(service.database.take_model_change(Uuid::now_v7(), now, now + hour).await.unwrap());
    service.enrol("a", &biden, &faces.join("biden_a.jpg")).await;
    assert_eq!(vectors(&service, OTHER, &biden).await.len(), 1, "an enrolment is stored for both");
    assert_eq!(service.database.switch_model(now).await.unwrap(), SwitchOutcome::NotComplete, "one face is missing");

    let ended = Uuid::now_v7();
    assert!(!service.database.take_model_change(ended, now, now).await.unwrap(), "another one works");
    assert!(service.database.take_model_change(ended, now + hour + hour, now - hour).await.unwrap());

    until(&service, "this process takes over", compares_with(OTHER)).await;
    for (image, subject) in [("obama_b.jpg", &obama), ("biden_b.jpg", &biden)] {
        assert_eq!(search(&service, &faces.join(image)).await["matches"][0]["subject"], subject.as_str());
    }
}

#[tokio::test]
async fn a_rejected_face_is_carried_over_while_its_frame_is_kept() {
    let Some((service, faces)) = TestService::with_both_models("a_rejected_face_is_carried_over", KEEP).await else {
        return;
    };
    let image = std::fs::read(faces.join("biden_a.jpg")).unwrap();
    let (obama, biden) = (service.subject("a", "Obama").await, service.subject("a", "Biden").await);
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    let path = format!("/v1/faces/subjects/{biden}/images");
    let (_, enrolled) = service.send("a", Method::POST, &path, image.clone()).await;
    let bounds: BoundingBox = serde_json::from_value(enrolled["box"].clone()).unwrap();
    let kept = service.seen("a", &obama, bounds, image.clone()).await;
    let expired = service.seen("a", &obama, bounds, image).await;
    for frame in [&kept, &expired] {
        let (_, rejected) = service.send("a", Method::POST, &frame.reject(), Vec::new()).await;
        assert!(rejected["negative"].is_string(), "{rejected}");
    }
    store::Blobs::delete(&*service.blobs, &expired.image).await.unwrap();

    change(&service, json!({"model": OTHER})).await;
    let begun = until(&service, "the other model compares", compares_with(OTHER)).await;

    assert_eq!(begun["negatives"], json!({"total": 1, "embedded": 1, "missing": 0}), "that of the kept frame");
    assert_eq!(vectors(&service, OTHER, &obama).await.len(), 2, "its face and one negative");
    let (status, restored) = service.send("a", Method::DELETE, &kept.reject(), Vec::new()).await;
    assert_eq!(status, StatusCode::OK, "{restored}");
    for (model, left) in [(FIRST, 2), (OTHER, 1)] {
        assert_eq!(vectors(&service, model, &obama).await.len(), left, "it is removed for {model} too");
    }
}

#[tokio::test]
async fn only_the_operator_changes_the_model_and_only_to_one_that_is_there() {
    let service = TestService::start(None).await;
    let empty = json!({"total": 0, "embedded": 0, "missing": 0});
    let expected = json!({
        "active": null, "target": null, "without_missing": false, "faces": empty, "negatives": empty,
        "subjects_without": 0, "without": [],
    });
    assert_eq!(status(&service).await, expected);
    let body = json!({"model": OTHER}).to_string();
    for (token, method) in [("a", Method::GET), ("a", Method::PUT)] {
        assert_eq!(service.json_refused(token, method, MODEL, &body).await, (403, "forbidden".to_owned()));
    }
    for body in [body.as_str(), r#"{"model": ""}"#, r#"{"model": "yunet_n"}"#, "{}"] {
        let refused = service.json_refused("a:admin", Method::PUT, MODEL, body).await;
        assert_eq!(refused, (422, "invalid".to_owned()), "{body}");
    }
    assert!(service.database.face_models().await.unwrap().is_none());
}
