//! One trace from a request to its alert, across the four services.

use std::collections::BTreeSet;

use bytes::Bytes;
use testing::{CollectedSpan, Collector, eventually};

use crate::delivery::{Subscriber, TestClient, small_photo};
use crate::nothing_lost::{TestNamespace, TestServices};
use crate::processes::TestServer;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

/// Service, name, and service and name of the parent, of each span of a frame that raises one alert for one subscriber.
const EXPECTED: [(&str, &str, &str); 13] = [
    ("ingest-api", "POST /v1/frames", "client"),
    ("ingest-api", "send frames", "ingest-api: POST /v1/frames"),
    ("detector-worker", "process frames", "ingest-api: send frames"),
    ("detector-worker", "decode", "detector-worker: process frames"),
    ("detector-worker", "detect", "detector-worker: process frames"),
    ("detector-worker", "keep image", "detector-worker: process frames"),
    ("detector-worker", "send results", "detector-worker: process frames"),
    ("indexer", "process results", "detector-worker: send results"),
    ("indexer", "evaluate rules", "indexer: process results"),
    ("indexer", "put documents", "indexer: process results"),
    ("indexer", "send alerts", "indexer: process results"),
    ("alert-stream", "process alerts", "indexer: send alerts"),
    ("alert-stream", "deliver alert", "alert-stream: process alerts"),
];

/// Sends a photograph as a client that traces. Returns the id of the frame.
async fn send(client: &TestClient, image: &Bytes, traceparent: Option<&str>) -> String {
    let url = format!("{}/v1/frames?stream=secret-gate", client.url);
    let form =
        reqwest::multipart::Part::stream(image.clone()).file_name("secret-name.png").mime_str("image/png").unwrap();
    let mut request = client.http.post(url).bearer_auth(&client.token);
    request = request.multipart(reqwest::multipart::Form::new().part("file", form));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 202);
    response.json::<contracts::api::FrameAccepted>().await.unwrap().frame_id.to_string()
}

/// The spans of a trace, once all that are expected have arrived.
async fn spans_of(collector: &Collector, trace: &str) -> Vec<CollectedSpan> {
    let of_trace = || collector.spans().into_iter().filter(|span| span.trace == trace).collect::<Vec<_>>();
    eventually("all spans of the trace arrive", async || of_trace().len() >= EXPECTED.len()).await;
    of_trace()
}

fn assert_expected(spans: &[CollectedSpan]) {
    let parent = |span: &CollectedSpan| match spans.iter().find(|other| other.id == span.parent) {
        Some(parent) => format!("{}: {}", parent.service, parent.name),
        None if span.parent == CLIENT_SPAN => "client".to_owned(),
        None => format!("unknown: {}", span.parent),
    };
    let found: BTreeSet<_> = spans.iter().map(|span| (span.service.clone(), span.name.clone(), parent(span))).collect();
    let expected: BTreeSet<_> = EXPECTED
        .iter()
        .map(|(service, name, parent)| (service.to_string(), name.to_string(), parent.to_string()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(spans.len(), EXPECTED.len(), "each span once: {spans:?}");
    for span in spans {
        assert!(span.time.0 <= span.time.1 && !span.failed, "{span:?}");
    }
}

/// Sends one traced frame and one of a client without traces, and checks the spans of both.
async fn assert_one_trace(collector: &Collector, client: &TestClient, image: &Bytes) {
    let subscriber = Subscriber::start(client, "/v1/alerts", 0, 1).await;
    let frame = send(client, image, Some(CLIENT)).await;
    let spans = spans_of(collector, TRACE).await;
    assert_expected(&spans);
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    for name in ["send frames", "process frames", "send results", "process results", "send alerts", "process alerts"] {
        assert_eq!(named(name).attributes["frame.id"], frame, "{name}");
    }
    assert_eq!(named("process frames").attributes["detections.count"], "1");
    assert_eq!(named("evaluate rules").attributes["alerts.count"], "1");
    assert_eq!(named("send alerts").attributes["alert.id"], named("process alerts").attributes["alert.id"]);

    let other = send(client, image, None).await;
    let begun = async || {
        let spans = collector.spans();
        let first = spans.iter().find(|span| span.attributes.get("frame.id") == Some(&other))?;
        Some(first.trace.clone())
            .filter(|trace| spans.iter().filter(|span| span.trace == *trace).count() >= EXPECTED.len())
    };
    eventually("the other frame has a trace of its own", async || begun().await.is_some()).await;
    assert_ne!(begun().await.unwrap(), TRACE);
    let all = collector.spans();
    let of_frames = all.iter().filter(|span| span.name.ends_with("frames") && !span.name.starts_with("GET"));
    assert_eq!(of_frames.map(|span| &span.trace).collect::<BTreeSet<_>>().len(), 2, "one trace a frame");
    let exported = format!("{all:?}");
    for secret in ["secret", client.token.as_str()] {
        assert!(!exported.contains(secret), "{secret} is in a span: {exported}");
    }
    drop(subscriber);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photograph_and_its_alert_are_one_trace() {
    let Some(image) = small_photo("a_photograph_and_its_alert_are_one_trace") else { return };
    let collector = Collector::start().await;
    let up = TestServer::start(&[("SIGHTLINE_OTLP_ENDPOINT", collector.endpoint())]).await;
    assert_one_trace(&collector, &TestClient::new(&up.url, &up.token), &image).await;
    let logged = up.process.output();
    assert!(logged.lines().any(|line| line.contains("/v1/frames") && line.contains(TRACE)), "{logged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn a_photograph_and_its_alert_are_one_trace_on_kafka() {
    let Some(image) = small_photo("a_photograph_and_its_alert_are_one_trace_on_kafka") else { return };
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let namespace = TestNamespace::create(folder.path());
    let further = [("SIGHTLINE_OTLP_ENDPOINT", collector.endpoint())];
    let mut services = TestServices::start_in(folder, &namespace, &further).await;
    assert_one_trace(&collector, &TestClient::new(&services.url, &namespace.token), &image).await;
    services.stop();
}
