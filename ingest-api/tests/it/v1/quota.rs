//! The frame quota and the rate limit of a user.

use contracts::TopicRole;
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::support::{ADMIN, TestServer, json_of, png, problem, quota_of};

const UNLIMITED: &[&str] = &["--rate-limit-rps", "none"];

/// The access token of a new user with this quota and no rate limit.
async fn token_with_quota(server: &TestServer, quota: u32) -> String {
    server.create_user_with("ann", quota_of(quota)).await;
    server.access_token("ann").await
}

async fn send(server: &TestServer, token: &str, key: Option<&str>) -> Response {
    let mut request = server.frame_as(token);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.send().await.unwrap()
}

async fn used(server: &TestServer, token: &str) -> u64 {
    let quota = json_of(server.get_as(token, "/v1/users/me/quota").await, StatusCode::OK).await;
    let number = |name: &str| quota[name].as_u64().unwrap();
    assert_eq!(number("limit"), number("used") + number("remaining"));
    number("used")
}

#[tokio::test]
async fn a_frame_is_charged_once_and_refusals_are_free() {
    let server = TestServer::start().await;
    let token = token_with_quota(&server, 3).await;
    for _ in 0..3 {
        assert_eq!(send(&server, &token, Some("a")).await.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(used(&server, &token).await, 1, "a repeated frame is charged once");

    let bad = server.frame_as(&token).body("no image").send().await.unwrap();
    assert_eq!(problem(bad).await.0.as_u16(), 415);
    let reused = server.request_as(&token, Method::POST, "/v1/frames?stream=b").header("content-type", "image/png");
    let reused = reused.header("idempotency-key", "a").body(png(9, 9, 900)).send().await.unwrap();
    assert_eq!(problem(reused).await.1, "idempotency_key_reused");
    assert_eq!(used(&server, &token).await, 1);

    let detection = server.post_as(&token, "/v1/detections", &json!({"label": "car"})).await;
    assert_eq!(detection.status(), StatusCode::ACCEPTED);
    assert_eq!(send(&server, &token, None).await.status(), StatusCode::ACCEPTED);
    let over = send(&server, &token, None).await;
    let seconds: u64 = over.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(seconds > 0, "the time to the next month");
    let (status, code, _) = problem(over).await;
    assert_eq!((status, code.as_str()), (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"));
    assert_eq!(send(&server, &token, Some("a")).await.status(), StatusCode::ACCEPTED, "the frame was charged before");
    assert_eq!((used(&server, &token).await, server.message_count(TopicRole::Frames).await), (3, 5));
    assert_eq!(send(&server, ADMIN, None).await.status(), StatusCode::ACCEPTED, "the operator has no quota");
}

#[tokio::test]
async fn a_frame_that_cannot_be_stored_is_not_charged() {
    let server = TestServer::start().await;
    let token = token_with_quota(&server, 5).await;
    assert_eq!(send(&server, &token, None).await.status(), StatusCode::ACCEPTED);
    // A file in place of the folder for large frames makes writes fail.
    std::fs::write(server.folder().join("blobs/inbox"), "not a folder").unwrap();
    for key in ["a", "a", "b"] {
        let request = server.frame_as(&token).header("idempotency-key", key).body(png(9, 9, 2 << 20));
        let refused = request.send().await.unwrap();
        assert!(refused.status().is_server_error(), "{}", refused.status());
    }
    assert_eq!(used(&server, &token).await, 1);
    std::fs::remove_file(server.folder().join("blobs/inbox")).unwrap();
    let request = server.frame_as(&token).header("idempotency-key", "a").body(png(8, 8, 900));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED, "the key is free for another image");
}

#[tokio::test]
async fn a_frame_over_the_quota_does_not_use_up_its_key() {
    let server = TestServer::start().await;
    let token = token_with_quota(&server, 1).await;
    assert_eq!(send(&server, &token, Some("a")).await.status(), StatusCode::ACCEPTED);
    for image in [png(9, 9, 900), png(8, 8, 800)] {
        let request = server.frame_as(&token).header("idempotency-key", "b").body(image);
        assert_eq!(problem(request.send().await.unwrap()).await.1, "quota_exceeded");
    }
    let reused = server.frame_as(&token).header("idempotency-key", "a").body(png(8, 8, 800));
    assert_eq!(problem(reused.send().await.unwrap()).await.1, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_frames_never_exceed_the_quota() {
    let mut server = TestServer::with_flags(UNLIMITED).await;
    let other = server.second_instance().await;
    let token = token_with_quota(&server, 40).await;
    let send = |number: usize| {
        let address = if number.is_multiple_of(2) { server.address } else { other };
        let request = server.client.post(format!("http://{address}/v1/frames")).bearer_auth(&token);
        request.header("content-type", "image/png").body(png(9, 9, 900)).send()
    };
    let responses: Vec<_> = stream::iter((0..400).map(send)).buffer_unordered(50).collect().await;
    let mut counts = std::collections::BTreeMap::<u16, usize>::new();
    for response in responses {
        *counts.entry(response.unwrap().status().as_u16()).or_default() += 1;
    }
    assert_eq!(counts, [(202, 40), (429, 360)].into());
    assert_eq!((used(&server, &token).await, server.message_count(TopicRole::Frames).await), (40, 40));
}

#[tokio::test]
async fn quota_and_period_come_from_the_settings() {
    let server = TestServer::with_flags(&["--api-request-quota", "1", "--api-request-quota-period", "total"]).await;
    server.create_user("ann").await;
    let token = server.access_token("ann").await;
    let quota = json_of(server.get_as(&token, "/v1/users/me/quota").await, StatusCode::OK).await;
    assert_eq!(quota, json!({"limit": 1, "used": 0, "remaining": 1, "period": "total", "resets_at": null}));
    assert_eq!(send(&server, &token, None).await.status(), StatusCode::ACCEPTED);
    let over = send(&server, &token, None).await;
    assert!(!over.headers().contains_key("retry-after"), "a total quota is never renewed");
    assert_eq!(problem(over).await.1, "quota_exceeded");
}

#[tokio::test]
async fn requests_beyond_the_rate_get_429_with_retry_after() {
    let server = TestServer::with_flags(&["--rate-limit-rps", "3"]).await;
    server.create_user("ann").await;
    let token = server.access_token("ann").await;
    let responses = join_all((0..12).map(|_| server.get_as(&token, "/v1/users/me"))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) =
        responses.into_iter().partition(|response| response.status() == StatusCode::OK);
    // The burst of three, and three more for each second that a busy machine takes.
    assert!((3..12).contains(&accepted.len()), "{} of 12", accepted.len());
    for answer in accepted.iter().chain(&refused) {
        assert_eq!(answer.headers()["ratelimit-policy"], "\"requests\";q=3;w=1");
        assert!(answer.headers()["ratelimit"].to_str().unwrap().starts_with("\"requests\";r="));
    }
    for answer in refused {
        assert_eq!(answer.headers()["retry-after"], "1");
        let (status, code, detail) = problem(answer).await;
        assert_eq!((status, code.as_str()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"), "{detail}");
    }
    let unlimited = server.get_as(ADMIN, "/v1/users/me").await;
    assert!(!unlimited.headers().contains_key("ratelimit"), "no headers without a limit");
}
