//! Health, readiness and metrics.

use crate::support::{TestServer, png};

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
        "sightline_ingest_refusals_total{code=\"unsupported_media_type\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
