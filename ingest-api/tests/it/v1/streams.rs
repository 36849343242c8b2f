//! Streams: settings, reports, and what they sent.

use contracts::api::{FrameAccepted, ReportedState, StreamReport};
use contracts::{DetectorName, Event, FrameEvent, FrameId, ResultEvent, RetentionDays, TenantId, TopicRole};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::{PutStreamOutcome, StoredReport, StreamSettings};
use tokio::time::Instant;

use crate::support::{ADMIN, CAMERA, OTHER, READER, TIMEOUT, TestServer, json_of, png, problem, result_of};

const SINCE: &str = "2026-01-02T03:04:05Z";

async fn two_detectors() -> TestServer {
    TestServer::with_flags(&["--detectors", "face,vehicle"]).await
}

/// Sends a frame; returns the detectors in the response, and those of the event. An empty list in the event means all.
async fn detectors_of(server: &TestServer, token: &str, query: &str) -> [String; 2] {
    let request = server.request_as(token, Method::POST, &format!("/v1/frames?{query}"));
    let sent = request.header("content-type", "image/png").body(png(9, 9, 90)).send().await.unwrap();
    let accepted: FrameAccepted = sent.json().await.unwrap();
    let event = event_of(server, accepted.frame_id).await;
    let joined = |names: Vec<DetectorName>| names.iter().map(DetectorName::as_str).collect::<Vec<_>>().join(",");
    [joined(accepted.detectors), joined(event.detectors)]
}

/// The event of a frame. Streams are in different partitions, so its place on the topic is not known.
async fn event_of(server: &TestServer, frame: FrameId) -> FrameEvent {
    let messages = usize::try_from(server.message_count(TopicRole::Frames).await).unwrap();
    for skip in 0..messages {
        let event = FrameEvent::from_message(&server.message(TopicRole::Frames, skip).await).unwrap();
        if event.id == frame {
            return event;
        }
    }
    panic!("no message has the frame {frame}");
}

#[tokio::test]
async fn the_detectors_of_a_request_precede_the_streams_and_the_services() {
    let server = two_detectors().await;
    let set = server.put_as(ADMIN, "/v1/streams/gate-1", &json!({"detectors": ["vehicle", "vehicle"]})).await;
    assert_eq!(json_of(set, StatusCode::OK).await["detectors"], json!(["vehicle"]));
    for (token, query, expected) in [
        (ADMIN, "stream=gate-1", ["vehicle", "vehicle"]),
        (ADMIN, "stream=gate-1&detectors=face", ["face", "face"]),
        (ADMIN, "stream=gate-2", ["face,vehicle", ""]),
        (ADMIN, "", ["face,vehicle", ""]),
        (OTHER, "stream=gate-1", ["face,vehicle", ""]),
    ] {
        assert_eq!(detectors_of(&server, token, query).await, expected, "{query}");
    }
    server.put_as(ADMIN, "/v1/streams/gate-1", &json!({"detectors": null})).await;
    assert_eq!(detectors_of(&server, ADMIN, "stream=gate-1").await, ["face,vehicle", ""]);
}

#[tokio::test]
async fn frames_and_detections_have_the_retention_of_their_stream() {
    let server = TestServer::start().await;
    let set = server.put_as(ADMIN, "/v1/streams/gate-1", &json!({"retention_days": 2})).await;
    assert_eq!(json_of(set, StatusCode::OK).await["retention_days"], 2);
    let two_days: Option<RetentionDays> = Some("2".parse().unwrap());
    for (token, query, expected) in [
        (ADMIN, "stream=gate-1", two_days),
        (ADMIN, "stream=gate-2", None),
        (ADMIN, "", None),
        (OTHER, "stream=gate-1", None),
    ] {
        let request = server.request_as(token, Method::POST, &format!("/v1/frames?{query}"));
        let sent = request.header("content-type", "image/png").body(png(9, 9, 90)).send().await.unwrap();
        let accepted: FrameAccepted = sent.json().await.unwrap();
        assert_eq!(event_of(&server, accepted.frame_id).await.retention, expected, "{query}");
    }
    let external = json!({"label": "car", "stream": "gate-1"});
    assert_eq!(server.post_as(ADMIN, "/v1/detections", &external).await.status(), StatusCode::ACCEPTED);
    let result = ResultEvent::from_message(&server.message(TopicRole::Results, 0).await).unwrap();
    assert_eq!(result.retention, two_days);
}

#[tokio::test]
async fn settings_are_in_effect_on_every_instance_within_seconds() {
    let mut server = two_detectors().await;
    let second = server.second_instance().await;
    server.put_as(ADMIN, "/v1/streams/gate-1", &json!({"detectors": ["face"]})).await;
    let until = Instant::now() + TIMEOUT;
    loop {
        let url = format!("http://{second}/v1/frames?stream=gate-1");
        let request = server.client.post(url).bearer_auth(ADMIN).header("content-type", "image/png");
        let accepted: Value = request.body(png(9, 9, 90)).send().await.unwrap().json().await.unwrap();
        if accepted["detectors"] == json!(["face"]) {
            return;
        }
        assert!(Instant::now() < until, "{accepted}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn stored_detectors_that_the_service_lacks_are_left_out() {
    let server = two_detectors().await;
    let names = ["nose", "vehicle"].map(|name| name.parse().unwrap());
    let documents = &server.deps.documents;
    for (stream, names) in [("some-left", &names[..]), ("none-left", &names[..1])] {
        let settings = StreamSettings { detectors: Some(names.to_vec()), ..StreamSettings::default() };
        documents.put_stream(&TenantId::admin(), &stream.parse().unwrap(), &settings, 10).await.unwrap();
    }
    let until = Instant::now() + TIMEOUT;
    while detectors_of(&server, ADMIN, "stream=some-left").await != ["vehicle", "vehicle"] {
        assert!(Instant::now() < until, "settings of another instance are not in effect");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(detectors_of(&server, ADMIN, "stream=none-left").await, ["face,vehicle", ""]);
    assert_eq!(server.get("/v1/streams/some-left").await["detectors"], json!(["nose", "vehicle"]));
}

#[tokio::test]
async fn invalid_settings_are_refused_with_a_hint() {
    let server = two_detectors().await;
    for (body, hint) in [
        (json!({"detectors": []}), "at least one"),
        (json!({"detectors": "face"}), "detectors must be an array"),
        (json!({"retention": "7d"}), "there is no field retention"),
        (json!({"retention_days": "7d"}), "retention_days must be a whole number"),
        (json!({"retention_days": 0}), "a retention must be a whole number of days from 1 to 3650"),
        (json!({"retention_days": 3_651}), "a retention must be a whole number of days from 1 to 3650"),
    ] {
        let (status, code, detail) = problem(server.put_as(ADMIN, "/v1/streams/gate-1", &body).await).await;
        assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"), "{body}: {detail}");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    let unknown = json!({"detectors": ["face", "nose"]});
    let (_, code, detail) = problem(server.put_as(ADMIN, "/v1/streams/gate-1", &unknown).await).await;
    assert_eq!(code, "unknown_detector");
    assert!(detail.ends_with("there is no \"nose\"; the detectors are face, vehicle"), "{detail}");
    assert_eq!(problem(server.get_as(ADMIN, "/v1/streams/gate-1").await).await.1, "not_found");
}

#[tokio::test]
async fn each_route_of_streams_needs_its_scope() {
    let server = TestServer::start().await;
    let scopes = json!({"name": "camera", "scopes": ["frames:write"]});
    server.create_user("ann").await;
    let ann = server.access_token("ann").await;
    let camera = json_of(server.post_as(&ann, "/v1/api-tokens", &scopes).await, StatusCode::CREATED).await;
    let camera = camera["token"].as_str().unwrap();
    let report = json!({"state": "connected", "since": SINCE});
    for token in [camera, READER] {
        assert_eq!(problem(server.put_as(token, "/v1/streams/a", &json!({})).await).await.1, "forbidden");
        assert_eq!(problem(server.delete_as(token, "/v1/streams/a").await).await.1, "forbidden");
    }
    assert_eq!(problem(server.put_as(READER, "/v1/streams/a/state", &report).await).await.1, "forbidden");
    assert_eq!(server.put_as(camera, "/v1/streams/a/state", &report).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(server.get_as(camera, "/v1/streams").await).await.1, "forbidden");
    assert_eq!(json_of(server.get_as(&ann, "/v1/streams").await, StatusCode::OK).await["items"][0]["name"], "a");
}

#[tokio::test]
async fn the_token_of_the_camera_program_may_only_send_frames_and_reports() {
    let server = TestServer::start().await;
    let report = json!({"state": "connected", "since": SINCE});
    assert_eq!(server.put_as(CAMERA, "/v1/streams/a/state", &report).await.status(), StatusCode::NO_CONTENT);
    let request = server.request_as(CAMERA, Method::POST, "/v1/frames?stream=a").header("content-type", "image/png");
    assert_eq!(request.body(png(9, 9, 90)).send().await.unwrap().status(), StatusCode::ACCEPTED);
    // Routes of the user, and of a user who is signed in with all rights.
    for path in [
        "/v1/users/me",
        "/v1/users/me/quota",
        "/v1/users/me/identities",
        "/v1/api-tokens",
        "/v1/sessions",
        "/v1/streams",
        "/v1/users",
    ] {
        assert_eq!(server.get_as(CAMERA, path).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
    for path in ["/v1/api-tokens/00000000-0000-7000-8000-000000000000", "/v1/sessions", "/v1/streams/a"] {
        assert_eq!(server.delete_as(CAMERA, path).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let token = json!({"name": "more", "scopes": ["frames:write"]});
    assert_eq!(server.post_as(CAMERA, "/v1/api-tokens", &token).await.status(), StatusCode::FORBIDDEN);
    let request = server.request_as(CAMERA, Method::PATCH, "/v1/users/me").json(&json!({"email": "a@example.org"}));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn streams_are_listed_by_name_in_pages() {
    let server = TestServer::start().await;
    for name in ["yard", "Gate.1", "gate-1"] {
        assert_eq!(server.put_as(ADMIN, &format!("/v1/streams/{name}"), &json!({})).await.status(), StatusCode::OK);
    }
    for limit in [1, 2, 3, 10] {
        let items = server.all_items("/v1/streams", limit).await;
        let names: Vec<&str> = items.iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["Gate.1", "gate-1", "yard"], "{limit}");
    }
    assert_eq!(server.delete_as(ADMIN, "/v1/streams/Gate.1").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(server.delete_as(ADMIN, "/v1/streams/Gate.1").await).await.1, "not_found");
    assert_eq!(server.all_items("/v1/streams", 10).await.len(), 2);
}

/// The stream, once a condition holds.
async fn stream_when(server: &TestServer, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + TIMEOUT;
    loop {
        let response = server.get_as(ADMIN, path).await;
        let (found, stream) = (response.status().is_success(), response.json::<Value>().await.unwrap());
        if found && holds(&stream) {
            return stream;
        }
        assert!(Instant::now() < until, "{stream}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_stream_shows_its_last_frame_rate_and_lag() {
    let server = TestServer::start().await;
    let mut frames: Vec<FrameId> = Vec::new();
    for second in ["05", "07", "06"] {
        let path = format!("/v1/frames?stream=gate-1&captured_at=2026-01-02T03:04:{second}Z");
        let sent = server.post_image(&path, png(9, 9, 90)).send().await.unwrap();
        frames.push(sent.json::<FrameAccepted>().await.unwrap().frame_id);
    }
    let external = json!({"label": "car", "stream": "external"});
    assert_eq!(server.post_as(ADMIN, "/v1/detections", &external).await.status(), StatusCode::ACCEPTED);

    let path = "/v1/streams/gate-1";
    let stream = stream_when(&server, path, |stream| stream["frames_per_second"] == json!(0.05)).await;
    let expected = json!({
        "name": "gate-1", "detectors": null, "retention_days": null, "last_frame_at": "2026-01-02T03:04:07Z", "frames_per_second": 0.05, "lag": 3,
        "state": null,
    });
    assert_eq!(stream, expected);
    assert_eq!(stream_when(&server, "/v1/streams/external", |_| true).await["lag"], 1);
    let mut result = result_of(frames[2], Vec::new());
    result.tenant = TenantId::admin();
    server.index(result).await;
    assert_eq!(server.get(path).await["lag"], 0);
    assert_eq!(server.delete_as(ADMIN, path).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.get("/v1/frames").await["items"].as_array().unwrap().len(), 1, "its frames are kept");
    server.stop().await;
}

#[tokio::test]
async fn frames_before_a_stop_are_counted() {
    let server = TestServer::start().await;
    let documents = server.deps.documents.clone();
    server.post_image("/v1/frames?stream=gate-1", png(9, 9, 90)).send().await.unwrap();
    server.stop().await;
    let stream = documents.stream(&TenantId::admin(), &"gate-1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(stream.activity.spans[0].frames, 1);
}

#[tokio::test]
async fn a_report_that_is_not_renewed_becomes_unknown_unless_it_ended() {
    let server = TestServer::start().await;
    let path = "/v1/streams/gate-1";
    let report = json!({
        "state": "connected", "since": SINCE, "frames_per_second": 4.9, "frames_sent": 1200, "frames_skipped": 800,
        "frames_dropped": 3, "last_error": "x".repeat(500),
    });
    assert_eq!(server.put_as(ADMIN, &format!("{path}/state"), &report).await.status(), StatusCode::NO_CONTENT);
    let shown = server.get(path).await["state"].clone();
    for (field, value) in report.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}");
    }
    let age = Timestamp::now().duration_since(shown["updated_at"].as_str().unwrap().parse().unwrap());
    assert!(age < SignedDuration::from_secs(20), "{shown}");

    let old = |state: ReportedState, seconds: i64| StoredReport {
        report: StreamReport { state, ..serde_json::from_value(report.clone()).unwrap() },
        at: Timestamp::now() - SignedDuration::from_secs(seconds),
    };
    for (stored, expected) in [
        (old(ReportedState::Connected, 40), "connected"),
        (old(ReportedState::Connected, 61), "unknown"),
        (old(ReportedState::Failed, 61), "unknown"),
        (old(ReportedState::Ended, 61), "ended"),
    ] {
        let documents = &server.deps.documents;
        documents.put_report(&TenantId::admin(), &"gate-1".parse().unwrap(), &stored, 10).await.unwrap();
        let shown = server.get(path).await["state"].clone();
        assert_eq!((&shown["state"], &shown["since"]), (&json!(expected), &json!(SINCE)));
    }
}

#[tokio::test]
async fn invalid_reports_are_refused_with_a_hint() {
    let server = TestServer::start().await;
    let valid = json!({"state": "connected", "since": SINCE});
    for (field, value, hint) in [
        ("state", json!("unknown"), "state must be one of connecting, connected"),
        ("since", json!("soon"), "since: must be a time such as"),
        ("since", json!("2100-01-01T00:00:00Z"), "since is in the future"),
        ("since", json!("1969-01-01T00:00:00Z"), "since must be 1970 or later"),
        ("frames_per_second", json!(-1), "frames_per_second must be a number from 0 to 1000000"),
        ("frames_sent", json!(-1), "frames_sent must be a whole number"),
        ("frames_skipped", json!(1_u64 << 53), "frames_skipped must be at most 9007199254740991"),
        ("frames_dropped", json!(u64::MAX), "frames_dropped must be at most"),
        ("last_error", json!("ü".repeat(501)), "last_error must have at most 500 characters"),
        ("password", json!("x"), "there is no field password"),
    ] {
        let mut report = valid.clone();
        report[field] = value;
        let (status, code, detail) = problem(server.put_as(ADMIN, "/v1/streams/a/state", &report).await).await;
        assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"), "{report}: {detail}");
        assert!(detail.contains(hint), "{report}: {detail}");
    }
    let missing = problem(server.put_as(ADMIN, "/v1/streams/a/state", &json!({"state": "failed"})).await).await;
    assert!(missing.2.contains("since is missing"), "{missing:?}");
}

#[tokio::test]
async fn a_tenant_has_at_most_a_thousand_streams_with_settings() {
    let server = TestServer::start().await;
    let documents = &server.deps.documents;
    let names: Vec<_> = (0..1_000).map(|number| format!("stream-{number}").parse().unwrap()).collect();
    let admin = TenantId::admin();
    let none = StreamSettings::default();
    let puts = join_all(names.iter().map(|name| documents.put_stream(&admin, name, &none, 1_000))).await;
    assert!(puts.into_iter().all(|put| put.unwrap() == PutStreamOutcome::Stored));
    let report = json!({"state": "connected", "since": SINCE});
    for (path, body, hint) in [
        ("/v1/streams/more", json!({}), "there are already 1000 streams with settings; delete one first"),
        ("/v1/streams/more/state", report, "there are already 1000 streams, and none without settings was silent"),
    ] {
        let (status, code, detail) = problem(server.put_as(ADMIN, path, &body).await).await;
        assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "conflict"), "{path}");
        assert!(detail.starts_with(hint), "{detail}");
    }
    assert_eq!(server.put_as(ADMIN, "/v1/streams/stream-7", &json!({})).await.status(), StatusCode::OK);
    assert_eq!(server.put_as(OTHER, "/v1/streams/more", &json!({})).await.status(), StatusCode::OK);
    let sent = server.post_image("/v1/frames?stream=more", png(9, 9, 90)).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED, "frames of further streams are processed");
}
