//! `POST /v1/frames` with `Prefer: wait`.

use std::time::Duration;

use contracts::api::{FrameAccepted, FrameView};
use reqwest::StatusCode;

use crate::support::{TIMEOUT, TestServer, png, result_of};

#[tokio::test]
async fn a_waiting_request_gets_the_results() {
    let server = TestServer::start().await;
    server.spawn_worker();
    let response = server.post_image_waiting(10).await;
    assert_eq!(response.headers()["preference-applied"], "wait=10");
    assert_eq!(response.status(), StatusCode::OK);
    let view: FrameView = response.json().await.unwrap();
    assert_eq!(view.detections.len(), 1);
    assert_eq!(view.detections[0].detection.label, "face");
    assert_eq!(view.detections[0].id, format!("{}-face-0", view.frame_id));
    assert_eq!((view.width, view.height), (640, 480));
    assert_eq!(view.results[0].count, 1);
    server.stop().await;
}

#[tokio::test]
async fn every_replica_answers_its_own_waiters() {
    let mut server = TestServer::start().await;
    let second = server.replica().await;
    let first = server.address;
    server.spawn_worker();
    for address in [first, second, first, second] {
        server.address = address;
        let response = server.post_image_waiting(10).await;
        assert_eq!(response.status(), StatusCode::OK, "{address}");
        assert_eq!(response.json::<FrameView>().await.unwrap().detections.len(), 1);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_wait_without_results_ends_in_202() {
    let server = TestServer::with_flags(&["--ingest-wait-seconds", "1"]).await;
    let response = server.post_image_waiting(3600).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers()["preference-applied"], "wait=1");
    response.json::<FrameAccepted>().await.unwrap();
}

#[tokio::test]
async fn a_repeat_of_a_finished_frame_is_answered_at_once() {
    let server = TestServer::start().await;
    let send = || server.post_image("/v1/frames", png(64, 64, 2000)).header("idempotency-key", "k");
    let accepted: FrameAccepted = send().send().await.unwrap().json().await.unwrap();
    server.index(result_of(accepted.frame_id, Vec::new())).await;
    let response = send().header("prefer", "wait=10").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let view: FrameView = response.json().await.unwrap();
    assert_eq!(view.frame_id, accepted.frame_id);
    assert_eq!(server.message_count(contracts::TopicRole::Frames).await, 1);
}

#[tokio::test]
async fn beyond_the_waiter_limit_the_answer_is_immediate() {
    let server = TestServer::with_flags(&["--ingest-waiting", "0"]).await;
    let response = server.post_image("/v1/frames", png(64, 64, 2000)).header("prefer", "wait=30").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert!(!response.headers().contains_key("preference-applied"));
}

#[tokio::test]
async fn shutdown_answers_waiting_requests() {
    let server = TestServer::start().await;
    drop(server.post_image_waiting(0).await);
    let waiting = tokio::spawn(server.post_image("/v1/frames", png(64, 64, 2000)).header("prefer", "wait=30").send());
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    let sent = server.message_count(contracts::TopicRole::Frames).await;
    while server.message_count(contracts::TopicRole::Frames).await == sent && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.stop().await;
    let response = tokio::time::timeout(TIMEOUT, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}
