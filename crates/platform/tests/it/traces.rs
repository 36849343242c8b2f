//! Traces: what a request's span has, what is exported, and what happens when the collector is away.

use std::time::{Duration, Instant};

use platform::config::TraceArgs;
use platform::http::Limits;
use platform::telemetry;
use platform::traces::{TraceExporter, Traces};
use testing::{CollectedSpan, Collector, eventually};
use tokio::net::TcpListener;

use crate::access_log::Log;
use crate::test_server::{TestServer, plain};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn exporting_to(endpoint: &str, ratio: f64) -> TraceArgs {
    TraceArgs {
        otlp_endpoint: Some(endpoint.parse().unwrap()),
        otlp_headers: Some("authorization=Bearer secret-key, x-team=vision".parse().unwrap()),
        traces_sample_ratio: ratio,
    }
}

fn exporter(endpoint: &str) -> TraceExporter {
    TraceExporter::start(&exporting_to(endpoint, 1.0)).unwrap()
}

async fn get(server: &TestServer, path: &str, traceparent: &[&str]) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request =
        client.get(server.url("http", path)).bearer_auth("secret-token").header("cookie", "a=secret-cookie");
    for value in traceparent {
        request = request.header("traceparent", *value);
    }
    request.send().await.unwrap().text().await.unwrap()
}

/// The spans, once there are as many.
async fn collected(collector: &Collector, number: usize) -> Vec<CollectedSpan> {
    eventually("the spans arrive", async || collector.spans().len() >= number).await;
    collector.spans()
}

/// The value of a counter on the page of metrics.
fn metric(name: &str) -> u64 {
    let page = telemetry::metrics().render();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn a_request_continues_the_trace_of_its_client() {
    let collector = Collector::start().await;
    let exporter = exporter(&collector.endpoint());
    let (log, _guard) = Log::begin();
    let server = TestServer::start_traced(&plain(), Limits::default(), exporter.service("a-service")).await;

    let seen = get(&server, "/traceparent?token=secret-query", &[CLIENT]).await;
    get(&server, "/things/secret-thing", &[CLIENT]).await;
    get(&server, "/failing", &[CLIENT]).await;
    get(&server, "/healthz", &[CLIENT]).await;
    exporter.close().await;

    let spans = collected(&collector, 3).await;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET /traceparent", "GET /things/{id}", "GET /failing"], "a probe has no span");
    for span in &spans {
        let of = (span.service.as_str(), span.trace.as_str(), span.parent.as_str());
        assert_eq!(of, ("a-service", TRACE, "b7ad6b7169203331"));
    }
    assert_eq!(seen, format!("00-{TRACE}-{}-01\n", spans[0].id), "the handler sees the span of its request");
    assert_eq!(spans[1].attributes["http.response.status_code"], "200");
    assert_eq!(spans.iter().map(|span| span.failed).collect::<Vec<_>>(), [false, false, true]);
    assert!(log.line("/things/{id}").await.contains(&format!("trace.id=\"{TRACE}\"")), "{}", log.text());
    let exported = format!("{spans:?}");
    assert!(!exported.contains("secret"), "{exported}");
    assert_eq!(collector.headers()["authorization"], "Bearer secret-key");
    assert!(!log.text().contains("secret-key"), "{}", log.text());
}

#[tokio::test]
async fn a_malformed_traceparent_begins_a_trace() {
    let collector = Collector::start().await;
    let exporter = exporter(&collector.endpoint());
    let server = TestServer::start_traced(&plain(), Limits::default(), exporter.service("a-service")).await;
    let malformed: [&[&str]; 4] =
        [&[], &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"], &[CLIENT, CLIENT], &["x"]];
    for given in malformed {
        get(&server, "/traceparent", given).await;
    }
    exporter.close().await;
    let spans = collected(&collector, malformed.len()).await;
    let traces: std::collections::BTreeSet<&str> = spans.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(traces.len(), malformed.len(), "{spans:?}");
    assert!(!traces.contains(TRACE) && spans.iter().all(|span| span.parent.is_empty()), "{spans:?}");
}

#[tokio::test]
async fn a_client_decides_whether_its_trace_is_sampled() {
    let collector = Collector::start().await;
    let (none, all) = (exporting_to(&collector.endpoint(), 0.0), exporting_to(&collector.endpoint(), 1.0));
    for (settings, given, sampled) in
        [(&none, None, false), (&none, Some(CLIENT), true), (&all, Some(UNSAMPLED), false), (&all, None, true)]
    {
        let before = collector.spans().len();
        let exporter = TraceExporter::start(settings).unwrap();
        let traces = exporter.service("a-service");
        let span = traces.consumer("process frames", given, None);
        // The services after this one follow the decision.
        let sent = span.producer("send results").traceparent().unwrap();
        assert!(sent.ends_with(if sampled { "-01" } else { "-00" }), "{sent}");
        drop(span);
        exporter.close().await;
        assert_eq!(collector.spans().len() - before, if sampled { 2 } else { 0 }, "{given:?}");
    }
}

#[tokio::test]
async fn without_a_collector_requests_are_not_changed() {
    let off = TraceArgs { otlp_endpoint: None, otlp_headers: None, traces_sample_ratio: 1.0 };
    let exporter = TraceExporter::start(&off).unwrap();
    let traces = exporter.service("a-service");
    let (log, _guard) = Log::begin();
    let server = TestServer::start_traced(&plain(), Limits::default(), traces.clone()).await;
    assert_eq!(get(&server, "/traceparent", &[]).await, "");
    assert_eq!(get(&server, "/traceparent", &[CLIENT]).await, format!("{CLIENT}\n"));
    assert!(!log.line("/traceparent").await.contains("trace.id"), "{}", log.text());
    assert_eq!(traces.producer("send frames", Some(CLIENT)).traceparent(), None);
    exporter.close().await;
}

#[tokio::test]
async fn a_collector_that_is_away_costs_dropped_spans_and_two_lines() {
    // An address that nobody listens on yet.
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    telemetry::start_metrics();
    let (log, _guard) = Log::begin();
    let exporter = exporter(&format!("http://{address}"));
    let traces = exporter.service("a-service");
    let queue_full = r#"sightline_trace_spans_dropped_total{reason="queue_full"}"#;
    let refused = r#"sightline_trace_spans_dropped_total{reason="collector"}"#;

    let started = Instant::now();
    for _ in 0..10_000 {
        drop(traces.producer("send frames", None));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "ending a span does not wait: {:?}", started.elapsed());
    assert_eq!(metric(queue_full), 10_000 - 4_096);
    eventually("a batch is dropped", async || metric(refused) >= 512).await;

    let collector = Collector::start_at(address).await;
    // Other tests count spans too.
    let rest = async || collector.spans().len() + usize::try_from(metric(refused)).unwrap() >= 4_096;
    eventually("the rest arrives", rest).await;
    eventually("the log says so", async || log.text().contains("accepts spans again")).await;
    let warnings = log.text().lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(warnings, 2, "{}", log.text());
    assert!(metric("sightline_trace_spans_exported_total") > 0);
    exporter.close().await;
}

#[tokio::test]
async fn a_collector_that_refuses_is_reported_once_with_its_status() {
    let collector = Collector::start().await;
    collector.refuse(401);
    let (log, _guard) = Log::begin();
    let exporter = exporter(&collector.endpoint());
    let traces = exporter.service("a-service");
    for _ in 0..3 {
        drop(traces.producer("send frames", None));
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    exporter.close().await;
    let text = log.text();
    let warnings: Vec<&str> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    assert!(warnings[0].contains("SIGHTLINE_OTLP_ENDPOINT") && warnings[0].contains("401"), "{text}");
}

#[tokio::test]
async fn closing_sends_the_last_spans_and_waits_for_no_dead_collector() {
    let collector = Collector::start().await;
    let exporting = exporter(&collector.endpoint());
    drop(exporting.service("a-service").producer("send frames", None));
    exporting.close().await;
    assert_eq!(collector.spans().len(), 1, "a span that ended right before the end");

    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporting = exporter(&format!("http://{}", silent.local_addr().unwrap()));
    let traces: Traces = exporting.service("a-service");
    drop(traces.producer("send frames", None));
    let started = Instant::now();
    exporting.close().await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}
