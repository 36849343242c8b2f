//! Error responses, and cookies for browsers.

use std::time::{Duration, Instant};

use accounts::Caller;
use contracts::UserId;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::client::{SseClient, TIMEOUT, request};
use crate::test_stream::{ADMIN, TestStream, alerts, reader};

#[tokio::test]
async fn every_error_is_a_problem_with_a_code() {
    let test = TestStream::new();
    test.accounts.add("no-scopes", Caller { scopes: Vec::new(), ..reader("alice", None) });
    let replica = test.replica(&[]).await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", replica.address);
    let long = format!("/v1/alerts?label={}", "x".repeat(65));
    for (method, path, token, status, code) in [
        (Method::GET, "/v1/alerts", None, 401, "unauthorized"),
        (Method::GET, "/v1/alerts", Some("unknown"), 401, "invalid_token"),
        (Method::GET, "/v1/alerts", Some("no-scopes"), 403, "forbidden"),
        (Method::GET, "/v1/alerts?last_event_id=nonsense", Some(ADMIN), 422, "invalid"),
        (Method::GET, "/v1/alerts?stream=a%20b", Some(ADMIN), 422, "invalid"),
        (Method::GET, "/v1/alerts?steam=gate-1", Some(ADMIN), 422, "invalid"),
        (Method::GET, &long, Some(ADMIN), 422, "invalid"),
        (Method::GET, "/v1/alert", Some(ADMIN), 404, "unknown_path"),
        (Method::DELETE, "/v1/alerts", Some(ADMIN), 405, "method_not_allowed"),
        (Method::GET, "/v1/alerts/cookie", Some(ADMIN), 405, "method_not_allowed"),
        (Method::POST, "/v1/alerts/cookie", None, 401, "unauthorized"),
        (Method::GET, "/alerts", None, 401, "unauthorized"),
    ] {
        let mut request = http.request(method.clone(), url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{method} {path}");
        let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(problem["code"], code, "{method} {path}");
        assert_eq!(problem["status"], status);
    }
    let garbled = request(replica.address, "/v1/alerts", ADMIN).header("Last-Event-ID", "\u{fc}");
    assert_eq!(garbled.send().await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    replica.stop().await;
}

#[tokio::test]
async fn errors_say_what_is_peculiar_to_the_streams() {
    let test = TestStream::new();
    test.accounts.add("no-scopes", Caller { scopes: Vec::new(), ..reader("alice", None) });
    let replica = test.replica(&[]).await;
    for (method, path, token, detail) in [
        (
            Method::GET,
            "/v1/alerts",
            None,
            "this request needs a credential; send Authorization: Bearer <token>, or the cookie of POST /v1/alerts/cookie",
        ),
        (Method::GET, "/v1/alerts", Some("no-scopes"), "the token lacks the scope alerts:read"),
        (
            Method::GET,
            "/v1/alert",
            None,
            "there is nothing at this path; the paths are /v1/alerts and /v1/alerts/cookie",
        ),
        (
            Method::DELETE,
            "/v1/alerts",
            None,
            "this path does not accept this method; the Allow header lists the methods that it accepts",
        ),
        (
            Method::GET,
            "/v1/alerts?last_event_id=nonsense",
            Some(ADMIN),
            "last event id: not an event id of this stream; omit it to start with the next alert",
        ),
    ] {
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", replica.address));
        let response = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth).send().await.unwrap();
        let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(problem["detail"], detail, "{path}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_rate_limited_request_gets_429_with_retry_after() {
    let test = TestStream::new();
    test.accounts.add("often", Caller { rate_limit: Some(0), ..reader("alice", None) });
    let replica = test.replica(&[]).await;
    for (method, path) in [(Method::GET, "/v1/alerts"), (Method::GET, "/alerts"), (Method::POST, "/v1/alerts/cookie")] {
        let url = format!("http://{}{path}", replica.address);
        let refused = reqwest::Client::new().request(method, url).bearer_auth("often").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(refused.headers()["retry-after"], "2");
        let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        assert_eq!(problem["code"], "rate_limited");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_client_over_the_limit_gets_503_until_another_disconnects() {
    let test = TestStream::new();
    let replica = test.replica(&["--alert-subscribers", "2", "--alert-heartbeat-seconds", "1"]).await;
    let first = SseClient::listen(replica.address, ADMIN).await;
    let _second = SseClient::listen(replica.address, ADMIN).await;
    let refused = request(replica.address, "/v1/alerts", ADMIN).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "5");
    drop(first);
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < TIMEOUT, "the slot of a closed connection is not freed");
        // The server notices a closed connection when it sends, at the latest a heartbeat.
        if request(replica.address, "/v1/alerts", ADMIN).send().await.unwrap().status() == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    replica.stop().await;
}

/// The `Set-Cookie` headers of a response.
fn cookies(response: &reqwest::Response) -> Vec<String> {
    response.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_browser_listens_with_an_http_only_cookie() {
    let test = TestStream::new();
    let user = Some(UserId::now());
    test.accounts.add("alice-token", Caller { user, ..reader("alice", None) });
    let replica = test.replica(&[]).await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", replica.address);
    let plain = http.post(url("/v1/alerts/cookie")).bearer_auth("alice-token").send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::NO_CONTENT);
    let end = "HttpOnly; SameSite=Strict";
    let expected = [
        format!("sightline_alerts=alice-token; Path=/v1/alerts; {end}"),
        format!("sightline_alerts=; Path=/; {end}; Max-Age=0"),
        format!("sightline_alerts=alice-token; Path=/alerts; {end}"),
    ];
    assert_eq!(cookies(&plain), expected, "no other path of the server gets the token");
    let proxied = http.post(url("/v1/alerts/cookie")).bearer_auth("alice-token").header("X-Forwarded-Proto", "https");
    let secure = cookies(&proxied.send().await.unwrap());
    assert!(secure.iter().all(|cookie| cookie.ends_with("; Secure")), "{secure:?}");

    let pair = expected[0].split("; ").next().unwrap();
    let mut client = SseClient::send(http.get(url("/v1/alerts")).header("Cookie", format!("theme=dark; {pair}"))).await;
    test.publish(alerts(0..1)).await;
    assert_eq!(client.numbers(1).await, [0]);
    let by_cookie = http.post(url("/v1/alerts/cookie")).header("Cookie", pair).send().await.unwrap();
    assert_eq!(by_cookie.status(), StatusCode::UNAUTHORIZED, "a cookie cannot be exchanged for a cookie");
    replica.stop().await;
}

#[tokio::test]
async fn the_operators_token_never_becomes_a_cookie() {
    let test = TestStream::new();
    let replica = test.replica(&[]).await;
    let url = format!("http://{}/v1/alerts/cookie", replica.address);
    let refused = reqwest::Client::new().post(url).bearer_auth(ADMIN).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(cookies(&refused).is_empty());
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(
        problem["detail"],
        "the operator's token cannot be given to a browser as a cookie; use the token of a user"
    );
    replica.stop().await;
}
