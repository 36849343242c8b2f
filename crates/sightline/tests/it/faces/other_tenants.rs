//! What other tenants write with the id of a subject.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{TestUser, recognised_as};
use crate::processes::TestServer;

/// Anybody may write a text that is somebody else's id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_tenants_write_with_an_id_fails_no_check() {
    let up = TestServer::start(&[]).await;
    let (ann, ben) = (TestUser::add(&up, "ann").await, TestUser::add(&up, "ben").await);
    let subject = ann.subject("Ann").await;
    ben.detection(&recognised_as(&subject)).await;
    let named = ben.json(Method::POST, "/v1/faces/subjects", json!({"external_id": subject})).await;
    assert_eq!(named.0, StatusCode::CREATED, "{}", named.1);
    let others = [
        "accounts face_subjects 1: of other tenants, ",
        "documents detections 1: of other tenants, ",
        "topic sightline.results 1: of other tenants, ",
    ];
    let assert_others = |printed: &str| {
        for place in others {
            assert!(printed.lines().any(|line| line.starts_with(place)), "{place}: {printed}");
        }
    };

    let (is_clean, printed, error) = up.outcome(&["erase", "check", &subject]);
    assert!(!is_clean && printed.contains("accounts face_subjects 1 (id 1): in no receipt\n"), "{printed}{error}");
    assert_others(&printed);
    let deleted = ann.json(Method::DELETE, &format!("/v1/faces/subjects/{subject}"), Value::Null).await;
    assert_eq!(deleted.0, StatusCode::OK, "{}", deleted.1);
    let (is_clean, printed, error) = up.outcome(&["erase", "check", &subject]);
    assert!(is_clean && printed.contains("accounts face_former_subjects 1 (id 1): in the receipt"), "{printed}{error}");
    assert_others(&printed);

    // It is forgotten a minute later.
    ann.detection(&recognised_as(&subject)).await;
    let (is_clean, printed, error) = up.outcome(&["erase", "check", &subject]);
    assert!(
        !is_clean && printed.contains("documents detections 1 (doc 1, attributes 1): in no receipt\n"),
        "{printed}{error}"
    );
    assert_others(&printed);
}
