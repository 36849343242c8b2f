//! Past alerts, and the proxy to alert-stream.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{AppendHeaders, IntoResponse, Response};
use contracts::FrameId;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{ADMIN, TIMEOUT, TestServer, alert_of, face, problem, result_of};

#[tokio::test]
async fn past_alerts_are_listed_in_pages() {
    let server = TestServer::start().await;
    for number in 0..5 {
        let frame = FrameId::from_position("test", 0, number);
        let alert = alert_of(frame, Timestamp::from_second(1_767_225_600 + number).unwrap());
        server.index_with_alerts(result_of(frame, vec![face(0.9)]), vec![alert]).await;
    }
    let first = server.get("/v1/alerts/history?limit=3&rule=face-seen&label=face").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.get(&format!("/v1/alerts/history?limit=3&cursor={cursor}")).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 2);
    assert!(second["next_cursor"].is_null());
    assert!(server.get("/v1/alerts/history?rule=none").await["items"].as_array().unwrap().is_empty());
}

/// The headers of the fake alert-stream's responses; one occurs twice.
const HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/event-stream"),
    ("x-own", "1"),
    ("set-cookie", "a=1; Path=/v1/alerts"),
    ("set-cookie", "a=1; Path=/alerts"),
];

/// A fake alert-stream: its URL, the requests it receives, and a channel for the events it sends.
async fn upstream() -> (String, mpsc::Receiver<Request>, mpsc::Sender<Result<Bytes, std::io::Error>>) {
    let (sender, requests) = mpsc::channel(4);
    let (event_sender, events) = mpsc::channel(4);
    let events = Arc::new(tokio::sync::Mutex::new(Some(events)));
    let response = move |request: Request| {
        let (sender, events) = (sender.clone(), events.clone());
        async move {
            sender.send(request).await.unwrap();
            let events: Option<mpsc::Receiver<Result<Bytes, std::io::Error>>> = events.lock().await.take();
            let stream = futures::stream::unfold(events, |events| async move {
                let mut events = events?;
                events.recv().await.map(|event| (event, Some(events)))
            });
            let response: Response = (AppendHeaders(HEADERS), Body::from_stream(stream)).into_response();
            response
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(response)).await });
    (url, requests, event_sender)
}

#[tokio::test]
async fn alerts_are_proxied_until_the_client_disconnects() {
    let (url, mut requests, event_sender) = upstream().await;
    let server = TestServer::with_flags(&["--alert-stream-url", &url]).await;
    let request = server.request(Method::GET, "/v1/alerts?label=face").header("last-event-id", "7");
    let pending = tokio::spawn(request.send());
    let seen = tokio::time::timeout(TIMEOUT, requests.recv()).await.unwrap().unwrap();
    assert_eq!(seen.uri().to_string(), "/v1/alerts?label=face");
    assert_eq!(seen.headers()["last-event-id"], "7");
    assert!(seen.headers()["authorization"].to_str().unwrap().starts_with("Bearer "));

    event_sender.send(Ok(Bytes::from_static(b"id: 8\n\n"))).await.unwrap();
    let mut response = pending.await.unwrap().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-own"], "1");
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/v1/alerts", "a=1; Path=/alerts"]);
    assert_eq!(response.chunk().await.unwrap().unwrap(), "id: 8\n\n");

    drop(response);
    let left = async {
        while event_sender.send(Ok(Bytes::from_static(b"id: 9\n\n"))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, left).await.expect("the upstream connection is closed");
}

#[tokio::test]
async fn shutdown_ends_proxied_streams() {
    let (url, _requests, event_sender) = upstream().await;
    let server = TestServer::with_flags(&["--alert-stream-url", &url]).await;
    let pending = server.request(Method::GET, "/v1/alerts").send();
    let (response, _) = tokio::join!(pending, event_sender.send(Ok(Bytes::from_static(b"id: 8\n\n"))));
    let mut response = response.unwrap();
    response.chunk().await.unwrap().unwrap();
    server.stop().await;
    assert_eq!(tokio::time::timeout(TIMEOUT, response.chunk()).await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn without_alert_stream_the_answer_is_503_with_retry_after() {
    // The port was just closed, so nothing listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = TestServer::with_flags(&["--alert-stream-url", &url]).await;
    for path in ["/v1/alerts", "/alerts"] {
        let response = server.get_as(ADMIN, path).await;
        assert!(response.headers().contains_key("retry-after"));
        let (status, code, _) = problem(response).await;
        assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"), "{path}");
    }
}
