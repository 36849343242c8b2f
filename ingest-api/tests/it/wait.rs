//! Requests that wait for results.

use std::time::Duration;

use contracts::api::{FrameAccepted, FrameView};
use reqwest::{Response, StatusCode};

use crate::site::{PATIENCE, Site, png, result_of};

/// Sends until a wait is granted: a replica that has just started may not hear replies yet.
async fn granted(site: &Site, wait: u32) -> Response {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let response =
            site.send("/v1/frames", png(64, 64, 2000)).header("prefer", format!("wait={wait}")).send().await.unwrap();
        if response.headers().contains_key("preference-applied") || tokio::time::Instant::now() > deadline {
            return response;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_request_that_waits_is_answered_with_the_results() {
    let site = Site::start().await;
    site.worker();
    let response = granted(&site, 10).await;
    assert_eq!(response.headers()["preference-applied"], "wait=10");
    assert_eq!(response.status(), StatusCode::OK);
    let view: FrameView = response.json().await.unwrap();
    assert_eq!(view.detections.len(), 1);
    assert_eq!(view.detections[0].detection.label, "face");
    assert_eq!(view.detections[0].id, format!("{}-face-0", view.frame_id));
    assert_eq!((view.width, view.height), (640, 480));
    assert_eq!(view.results[0].count, 1);
    site.stop().await;
}

#[tokio::test]
async fn every_replica_answers_those_who_wait_there() {
    let mut site = Site::start().await;
    let second = site.replica().await;
    let first = site.address;
    site.worker();
    for address in [first, second, first, second] {
        site.address = address;
        let response = granted(&site, 10).await;
        assert_eq!(response.status(), StatusCode::OK, "{address}");
        assert_eq!(response.json::<FrameView>().await.unwrap().detections.len(), 1);
    }
    site.stop().await;
}

#[tokio::test]
async fn without_results_in_time_the_answer_is_202_and_a_long_wish_is_cut() {
    let site = Site::with(&["--ingest-wait-seconds", "1"]).await;
    let response = granted(&site, 3600).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers()["preference-applied"], "wait=1");
    response.json::<FrameAccepted>().await.unwrap();
}

#[tokio::test]
async fn a_repeat_of_a_frame_that_is_done_is_answered_without_doing_it_again() {
    let site = Site::start().await;
    let send = || site.send("/v1/frames", png(64, 64, 2000)).header("idempotency-key", "k");
    let accepted: FrameAccepted = send().send().await.unwrap().json().await.unwrap();
    site.index(result_of(accepted.frame_id, Vec::new())).await;
    let response = send().header("prefer", "wait=10").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let view: FrameView = response.json().await.unwrap();
    assert_eq!(view.frame_id, accepted.frame_id);
    assert_eq!(site.messages(contracts::TopicRole::Frames).await, 1);
}

#[tokio::test]
async fn beyond_the_most_that_may_wait_the_answer_comes_at_once() {
    let site = Site::with(&["--ingest-waiting", "0"]).await;
    let response = site.send("/v1/frames", png(64, 64, 2000)).header("prefer", "wait=30").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert!(!response.headers().contains_key("preference-applied"));
}

#[tokio::test]
async fn a_stop_answers_those_who_wait() {
    let site = Site::start().await;
    drop(granted(&site, 0).await);
    let waiting = tokio::spawn(site.send("/v1/frames", png(64, 64, 2000)).header("prefer", "wait=30").send());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let sent = site.messages(contracts::TopicRole::Frames).await;
    while site.messages(contracts::TopicRole::Frames).await == sent && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    site.stop().await;
    let response = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}
