//! `detector-worker serve`, and a worker that uses such an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use detector_worker::serve::{Answer, serve};
use reqwest::{Client, Response, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use vision::inference::DetectorSpec;

use crate::harness::{Settings, TestWorker, detection, detections, fake, finds_one, frame, name, png, settings, until};

struct TestEngine {
    address: String,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

impl TestEngine {
    async fn start(detectors: Vec<DetectorSpec>, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let Settings { config, common } = settings(folder.path(), flags);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/detect", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(serve(detectors, config, common, listener, stop.clone()));
        Self { address, _stop: stop.drop_guard(), _folder: folder }
    }

    async fn post(&self, query: &str, body: Bytes) -> Response {
        Client::new().post(format!("{}{query}", self.address)).body(body).send().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_answered_with_its_detections() {
    let engine = TestEngine::start(vec![finds_one("face"), finds_one("vehicle")], &[]).await;
    for (query, label) in [("", "face"), ("?detector=vehicle", "vehicle")] {
        let response = engine.post(query, png(42, 21)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let answer: Answer = response.json().await.unwrap();
        assert_eq!((answer.width, answer.height, answer.model.as_str()), (42, 21, "fake"));
        assert_eq!((answer.detections[0].label.as_str(), answer.detections[0].confidence), (label, 0.42));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_answered_with_a_problem() {
    let flags = ["--max-frame-bytes", "20000", "--max-frame-pixels", "5000"];
    let engine = TestEngine::start(vec![finds_one("face")], &flags).await;
    let whole = png(60, 60);
    for (query, body, status, code) in [
        ("", Bytes::new(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        ("", Bytes::from_static(b"GIF89a"), StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        ("", whole.slice(..500), StatusCode::UNPROCESSABLE_ENTITY, "undecodable"),
        ("", png(99, 99), StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        ("", vec![0; 20_001].into(), StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        ("?detector=voice", whole.clone(), StatusCode::NOT_FOUND, "unknown_detector"),
        ("?detector=Ä", whole.clone(), StatusCode::BAD_REQUEST, "invalid_query"),
        ("?colour=red", whole.clone(), StatusCode::BAD_REQUEST, "invalid_query"),
        ("/more", whole.clone(), StatusCode::NOT_FOUND, "not_found"),
    ] {
        let response = engine.post(query, body).await;
        assert_eq!(response.status(), status, "{query} {code}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["code"], code);
    }
    let response = Client::new().get(&engine.address).send().await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_engine_refuses_with_retry_after() {
    let (busy, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (entered, opened) = (busy.clone(), open.clone());
    let slow = fake("face", move |image| {
        entered.store(true, Ordering::SeqCst);
        while !opened.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(vec![detection("face", image)].into())
    });
    let engine = Arc::new(TestEngine::start(vec![slow], &["--worker-frames", "1"]).await);
    let first = tokio::spawn({
        let engine = engine.clone();
        async move { engine.post("", png(10, 10)).await.status() }
    });
    until("the engine is busy", async || busy.load(Ordering::SeqCst)).await;
    let response = engine.post("", png(10, 10)).await;
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    open.store(true, Ordering::SeqCst);
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    assert_eq!(engine.post("", png(10, 10)).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_in_the_queue_is_not_inferred() {
    let (calls, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, opened) = (calls.clone(), open.clone());
    let slow = fake("face", move |image| {
        counted.fetch_add(1, Ordering::SeqCst);
        while !opened.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(vec![detection("face", image)].into())
    });
    let engine = TestEngine::start(vec![slow], &["--inference-threads", "1", "--worker-frames", "2"]).await;
    let post = |width| {
        let (address, body) = (engine.address.clone(), png(width, 10));
        tokio::spawn(async move { Client::new().post(address).body(body).send().await.unwrap().status() })
    };
    let first = post(10);
    until("the engine is busy", async || calls.load(Ordering::SeqCst) == 1).await;
    let abandoned = post(11);
    // Without a free permit a request is refused before its body is read.
    let probe = async || engine.post("", Bytes::from_static(b"no image")).await.status();
    until("both requests are in flight", async || probe().await == StatusCode::SERVICE_UNAVAILABLE).await;
    abandoned.abort();
    until("the abandoned request is dropped", async || probe().await == StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    open.store(true, Ordering::SeqCst);
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    assert_eq!(engine.post("", png(10, 10)).await.status(), StatusCode::OK);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_publishes_what_its_engine_answers() {
    let engine = TestEngine::start(vec![finds_one("face")], &[]).await;
    let setup = TestWorker::new();
    let models = setup.folder.path().join("models.yaml");
    let document = format!(
        "detectors:\n  face: [elsewhere]\nmodels:\n  - name: elsewhere\n    task: face\n    licence: MIT\n    \
         commercial: true\n    input: image\n    output: detections\n    engine:\n      kind: http\n      url: {}\n",
        engine.address
    );
    std::fs::write(&models, document).unwrap();
    let settings = settings(setup.folder.path(), &["--models-file", models.to_str().unwrap()]);
    let detectors = detector_worker::detectors(&settings.config, &settings.common).unwrap();
    assert_eq!(detectors[0].name, name("face"));
    let images = [png(42, 21), png(7, 7), png(42, 21).slice(..80)];
    for image in &images {
        setup.send(&frame("gate", image.clone())).await;
    }
    let worker = setup.start(detectors, &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = setup.results().await;
    for (result, image) in results.iter().zip(&images[..2]) {
        let direct: Answer = engine.post("", image.clone()).await.json().await.unwrap();
        assert_eq!((detections(result), result.data.model.as_str()), (&*direct.detections, "elsewhere"));
    }
    assert_eq!((results.len(), setup.dead_letters().await.len()), (3, 1));
}
