//! Health, readiness and metrics.

use crate::support::{TestServer, png, refusing_redis};

#[tokio::test]
async fn health_and_readiness_are_reported() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/healthz").await["status"], "ok");
    let ready = server.get("/readyz").await;
    for name in ["bus", "documents", "blobs", "accounts"] {
        assert_eq!(ready["checks"][name], "ok", "{ready}");
    }
}

#[tokio::test]
async fn a_redis_that_refuses_commands_degrades_and_stops_nothing() {
    let server = TestServer::with_redis_at(&refusing_redis().await).await;
    let ready = server.get("/readyz").await;
    let redis = ready["checks"]["redis"].as_str().unwrap();
    assert!(redis.starts_with("degraded: ") && redis.contains("the disk is full"), "{ready}");
    assert_eq!(ready["status"], "degraded");
    let sent = server.post_image("/v1/frames", png(9, 9, 2000)).send().await.unwrap();
    assert_eq!(sent.status(), reqwest::StatusCode::ACCEPTED);
}

#[tokio::test]
async fn without_redis_it_is_not_named() {
    let ready = TestServer::start().await.get("/readyz").await;
    assert!(ready["checks"].get("redis").is_none(), "{ready}");
}

#[tokio::test]
async fn requests_and_frames_are_counted() {
    let server = TestServer::start().await;
    server.post_image("/v1/frames", png(9, 9, 2000)).send().await.unwrap();
    server.post_image("/v1/frames", b"GIF89a".to_vec()).send().await.unwrap();
    let metrics = platform::telemetry::metrics().render();
    for line in [
        "sightline_http_requests_total{route=\"/v1/frames\",method=\"POST\",status=\"202\"}",
        "sightline_http_request_seconds",
        "sightline_ingest_frames_total",
        "sightline_ingest_frame_bytes_total",
        "sightline_ingest_bytes_in_flight",
        "sightline_ingest_waiting",
        "sightline_ingest_backlog_seconds",
        "sightline_ingest_backlog_wait_seconds",
        "sightline_http_refusals_total{code=\"unsupported_media_type\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
