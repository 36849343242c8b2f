//! What a frame costs, and how often one may ask.

use accounts::Granted;
use contracts::TopicRole;
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use store::relational::Allowance;

use crate::site::{ADMIN, Site, png, problem};

const UNLIMITED: &[&str] = &["--rate-limit-rps", "none"];

/// A user with this quota and no limit on its rate; its access token.
async fn with_quota(site: &Site, quota: u32) -> String {
    let granted = Granted { quota: Allowance::AtMost(quota), rate_limit: Allowance::Unlimited, ..Granted::default() };
    site.user_with("ann", granted).await;
    site.access_token("ann").await
}

async fn send(site: &Site, token: &str, key: Option<&str>) -> Response {
    let mut request = site.request_as(token, Method::POST, "/v1/frames").header("content-type", "image/png");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(png(9, 9, 900)).send().await.unwrap()
}

async fn used(site: &Site, token: &str) -> u64 {
    let quota = site.request_as(token, Method::GET, "/v1/users/me/quota").send().await.unwrap();
    let quota: Value = quota.json().await.unwrap();
    assert_eq!(
        quota["limit"].as_u64().unwrap(),
        quota["used"].as_u64().unwrap() + quota["remaining"].as_u64().unwrap()
    );
    quota["used"].as_u64().unwrap()
}

#[tokio::test]
async fn a_frame_costs_one_request_once_and_what_is_refused_nothing() {
    let site = Site::start().await;
    let token = with_quota(&site, 3).await;
    for _ in 0..3 {
        assert_eq!(send(&site, &token, Some("a")).await.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(used(&site, &token).await, 1, "one frame, however often it is sent");

    let bad = site.request_as(&token, Method::POST, "/v1/frames").header("content-type", "image/png").body("no image");
    assert_eq!(problem(bad.send().await.unwrap()).await.0.as_u16(), 415);
    let reused = site.request_as(&token, Method::POST, "/v1/frames?stream=b").header("content-type", "image/png");
    let reused = reused.header("idempotency-key", "a").body(png(9, 9, 900)).send().await.unwrap();
    assert_eq!(problem(reused).await.1, "idempotency_key_reused");
    assert_eq!(used(&site, &token).await, 1);

    let detection = site.request_as(&token, Method::POST, "/v1/detections").json(&json!({"label": "car"}));
    assert_eq!(detection.send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(send(&site, &token, None).await.status(), StatusCode::ACCEPTED);
    let over = send(&site, &token, None).await;
    assert!(over.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0, "until the month is over");
    let (status, code, _) = problem(over).await;
    assert_eq!((status, code.as_str()), (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"));
    assert_eq!(send(&site, &token, Some("a")).await.status(), StatusCode::ACCEPTED, "a frame that was paid for");
    assert_eq!((used(&site, &token).await, site.messages(TopicRole::Frames).await), (3, 5));
    assert_eq!(send(&site, ADMIN, None).await.status(), StatusCode::ACCEPTED, "the operator has no quota");
}

#[tokio::test]
async fn what_cannot_be_taken_in_is_not_charged() {
    let site = Site::start().await;
    let token = with_quota(&site, 5).await;
    assert_eq!(send(&site, &token, None).await.status(), StatusCode::ACCEPTED);
    // Where large frames should wait for the detectors there is no room for them.
    std::fs::write(site.folder().join("blobs/inbox"), "in the way").unwrap();
    for key in ["a", "a", "b"] {
        let request = site.request_as(&token, Method::POST, "/v1/frames").header("content-type", "image/png");
        let refused = request.header("idempotency-key", key).body(png(9, 9, 2 << 20)).send().await.unwrap();
        assert!(refused.status().is_server_error(), "{}", refused.status());
    }
    assert_eq!(used(&site, &token).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_on_two_processes_as_many_as_the_quota_are_accepted() {
    let mut site = Site::with(UNLIMITED).await;
    let other = site.other_process().await;
    let token = with_quota(&site, 40).await;
    let send = |number: usize| {
        let address = if number.is_multiple_of(2) { site.address } else { other };
        let request = site.client.post(format!("http://{address}/v1/frames")).bearer_auth(&token);
        request.header("content-type", "image/png").body(png(9, 9, 900)).send()
    };
    let answers: Vec<_> = stream::iter((0..400).map(send)).buffer_unordered(50).collect().await;
    let mut counts = std::collections::BTreeMap::<u16, usize>::new();
    for answer in answers {
        *counts.entry(answer.unwrap().status().as_u16()).or_default() += 1;
    }
    assert_eq!(counts, [(202, 40), (429, 360)].into());
    assert_eq!((used(&site, &token).await, site.messages(TopicRole::Frames).await), (40, 40));
}

#[tokio::test]
async fn the_quota_is_that_of_the_settings_and_its_period() {
    let site = Site::with(&["--api-request-quota", "1", "--api-request-quota-period", "total"]).await;
    site.user("ann").await;
    let token = site.access_token("ann").await;
    let quota = site.request_as(&token, Method::GET, "/v1/users/me/quota").send().await.unwrap();
    let quota: Value = quota.json().await.unwrap();
    assert_eq!(quota, json!({"limit": 1, "used": 0, "remaining": 1, "period": "total", "resets_at": null}));
    assert_eq!(send(&site, &token, None).await.status(), StatusCode::ACCEPTED);
    let over = send(&site, &token, None).await;
    assert!(!over.headers().contains_key("retry-after"), "it does not come back");
    assert_eq!(problem(over).await.1, "quota_exceeded");
}

#[tokio::test]
async fn requests_beyond_the_rate_are_refused_with_a_time_and_every_answer_tells_what_is_left() {
    let site = Site::with(&["--rate-limit-rps", "3"]).await;
    site.user("ann").await;
    let token = site.access_token("ann").await;
    let ask = || site.request_as(&token, Method::GET, "/v1/users/me").send();
    let answers: Vec<Response> = join_all((0..12).map(|_| ask())).await.into_iter().map(Result::unwrap).collect();
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status() == StatusCode::OK);
    // As many as fit at once, and three for each second that a busy machine takes.
    assert!((3..12).contains(&taken.len()), "{} of 12 at once", taken.len());
    for answer in taken.iter().chain(&refused) {
        assert_eq!(answer.headers()["ratelimit-policy"], "\"requests\";q=3;w=1");
        assert!(answer.headers()["ratelimit"].to_str().unwrap().starts_with("\"requests\";r="));
    }
    for answer in refused {
        assert_eq!(answer.headers()["retry-after"], "1");
        let (status, code, detail) = problem(answer).await;
        assert_eq!((status, code.as_str()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"), "{detail}");
    }
    let free = site.request(Method::GET, "/v1/users/me").send().await.unwrap();
    assert!(!free.headers().contains_key("ratelimit"), "who has no limit is told none");
}
