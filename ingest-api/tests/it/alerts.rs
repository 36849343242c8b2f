//! Alerts: those of the past, and the way through to alert-stream.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use contracts::alert::AlertData;
use contracts::{AlertEvent, AlertId, RuleId, TenantId};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use store::Indexed;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::site::{PATIENCE, Site, face, problem, result_of};

#[tokio::test]
async fn alerts_of_the_past_are_a_list() {
    let site = Site::start().await;
    for number in 0..5 {
        let frame = contracts::FrameId::from_position("t", 0, number);
        let rule_id = RuleId::built_in("face-seen");
        let data = AlertData {
            id: AlertId::of(&rule_id, &frame),
            rule: "face-seen".to_owned(),
            rule_id,
            frame_id: frame,
            stream: None,
            detector: "face".parse().unwrap(),
            detection_id: format!("{frame}-face-0"),
            label: "face".to_owned(),
            confidence: 0.9,
            bounds: None,
            vehicle: contracts::Vehicle::default(),
            matches: 1,
            captured_at: Timestamp::now(),
            raised_at: Timestamp::from_second(1_767_225_600 + number).unwrap(),
        };
        let alert = AlertEvent { tenant: TenantId::admin(), traceparent: None, data };
        let indexed = Indexed {
            result: result_of(frame, vec![face(0.9)]),
            alerts: vec![alert],
            indexed_at: Timestamp::now(),
            expires_at: "9999-01-01T00:00:00Z".parse().unwrap(),
        };
        site.deps.documents.put(&[indexed]).await.unwrap();
    }
    let first = site.get("/v1/alerts/history?limit=3&rule=face-seen&label=face").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = site.get(&format!("/v1/alerts/history?limit=3&cursor={cursor}")).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 2);
    assert!(second["next_cursor"].is_null());
    assert!(site.get("/v1/alerts/history?rule=none").await["items"].as_array().unwrap().is_empty());
}

/// Stands in for alert-stream: tells what it was asked and sends what the test feeds it.
async fn upstream() -> (String, mpsc::Receiver<Request>, mpsc::Sender<Result<Bytes, std::io::Error>>) {
    let (asked, requests) = mpsc::channel(4);
    let (feed, events) = mpsc::channel(4);
    let events = Arc::new(tokio::sync::Mutex::new(Some(events)));
    let answer = move |request: Request| {
        let (asked, events) = (asked.clone(), events.clone());
        async move {
            asked.send(request).await.unwrap();
            let events: Option<mpsc::Receiver<Result<Bytes, std::io::Error>>> = events.lock().await.take();
            let stream = futures::stream::unfold(events, |events| async move {
                let mut events = events?;
                events.recv().await.map(|event| (event, Some(events)))
            });
            let answer: Response =
                ([("content-type", "text/event-stream"), ("x-own", "1")], Body::from_stream(stream)).into_response();
            answer
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (url, requests, feed)
}

#[tokio::test]
async fn alerts_pass_through_as_they_come_and_a_client_that_leaves_is_noticed() {
    let (url, mut requests, feed) = upstream().await;
    let site = Site::with(&["--alert-stream-url", &url]).await;
    let request = site.request(Method::GET, "/v1/alerts?label=face").header("last-event-id", "7");
    let asking = tokio::spawn(request.send());
    let seen = tokio::time::timeout(PATIENCE, requests.recv()).await.unwrap().unwrap();
    assert_eq!(seen.uri().to_string(), "/v1/alerts?label=face");
    assert_eq!(seen.headers()["last-event-id"], "7");
    assert!(seen.headers()["authorization"].to_str().unwrap().starts_with("Bearer "));

    feed.send(Ok(Bytes::from_static(b"id: 8\n\n"))).await.unwrap();
    let mut response = asking.await.unwrap().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-own"], "1");
    assert_eq!(response.chunk().await.unwrap().unwrap(), "id: 8\n\n");

    drop(response);
    let left = async {
        while feed.send(Ok(Bytes::from_static(b"id: 9\n\n"))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("the connection behind is closed");
}

#[tokio::test]
async fn a_stop_ends_the_streams_that_pass_through() {
    let (url, _requests, feed) = upstream().await;
    let site = Site::with(&["--alert-stream-url", &url]).await;
    let asking = site.request(Method::GET, "/v1/alerts").send();
    let (response, _) = tokio::join!(asking, feed.send(Ok(Bytes::from_static(b"id: 8\n\n"))));
    let mut response = response.unwrap();
    response.chunk().await.unwrap().unwrap();
    site.stop().await;
    assert_eq!(tokio::time::timeout(PATIENCE, response.chunk()).await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn without_alert_stream_the_answer_is_to_try_again() {
    // A port that was just given back: nothing listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let site = Site::with(&["--alert-stream-url", &url]).await;
    for path in ["/v1/alerts", "/alerts"] {
        let response = site.request(Method::GET, path).send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"));
        let (status, code, _) = problem(response).await;
        assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"), "{path}");
    }
}
