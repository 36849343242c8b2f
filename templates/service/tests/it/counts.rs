//! Counting, and the two versions of the route.

use contracts::result::ResultData;
use contracts::{Event, FrameId, Headers, Message, Outcome, ResultEvent, TenantId};
use jiff::Timestamp;
use serde_json::json;

use crate::test_service::{TOKEN, TestService};

fn result(detector: &str) -> Message {
    let frame_id = FrameId::now();
    let event = ResultEvent {
        id: uuid::Uuid::now_v7(),
        tenant: TenantId::shared(),
        key: frame_id.to_string(),
        traceparent: None,
        reply_to: None,
        retention: None,
        data: ResultData {
            frame_id,
            stream: None,
            detector: detector.parse().unwrap(),
            model: "test".to_owned(),
            captured_at: Timestamp::UNIX_EPOCH,
            processed_at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::Ok { width: 1, height: 1, detections: Vec::new(), image: None },
        },
    };
    event.to_message()
}

#[tokio::test]
async fn results_are_counted_by_detector_in_both_versions() {
    let service = TestService::start().await;
    for detector in ["face", "vehicle", "face"] {
        service.send(result(detector)).await;
    }
    service.wait_for("/v1/counts", json!({"face": 2, "vehicle": 1})).await;
    let expected = json!({"items": [{"detector": "face", "count": 2}, {"detector": "vehicle", "count": 1}]});
    assert_eq!(service.get("/v2/counts").await, expected);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_result_that_cannot_be_decoded_becomes_a_dead_letter() {
    let service = TestService::start().await;
    service.send(Message { key: Some("k".into()), headers: Headers::new(), value: "garbage".into() }).await;
    service.send(result("face")).await;
    assert_eq!(service.dead_letter().await.cause.code, "undecodable");
    service.wait_for("/v1/counts", json!({"face": 1})).await;
}

#[tokio::test]
async fn a_request_without_a_valid_token_is_refused() {
    let service = TestService::start().await;
    for (token, code) in [(None, "unauthorized"), (Some("wrong"), "invalid_token")] {
        let response = service.get_as("/v1/counts", token).await;
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
        let problem: serde_json::Value = response.json().await.unwrap();
        assert_eq!(problem["code"], code);
    }
}

#[tokio::test]
async fn the_document_has_both_versions_and_their_scope() {
    let service = TestService::start().await;
    let document = service.get("/openapi.json").await;
    for path in ["/v1/counts", "/v2/counts"] {
        assert_eq!(document["paths"][path]["get"]["security"][0], json!({"oauth2": ["detections:read"]}), "{path}");
    }
    let refused = service.get_as("/v1/counts?detector=face", Some(TOKEN)).await;
    assert_eq!(refused.status(), 422, "there is no such parameter");
}

#[tokio::test]
async fn the_service_is_ready_while_its_dependencies_are() {
    let service = TestService::start().await;
    let ready = service.get("/readyz").await;
    assert_eq!(ready["checks"], json!({"bus": "ok", "accounts": "ok"}));
}
