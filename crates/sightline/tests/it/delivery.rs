//! Clients that check delivery: which frames were acknowledged, and which results and alerts arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contracts::api::{FrameView, Problem};
use contracts::{FrameId, alert::AlertData};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::processes::TIMEOUT;

use platform::sse::SseParser;

/// A client of the API with a token.
#[derive(Clone)]
pub struct TestClient {
    pub url: String,
    pub token: String,
    pub http: reqwest::Client,
}

impl TestClient {
    pub fn new(url: &str, token: &str) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { url: url.to_owned(), token: token.to_owned(), http }
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// Sends an image until it is acknowledged, with one idempotency key. A permanent refusal fails the test.
    pub async fn send(&self, image: &bytes::Bytes) -> FrameId {
        self.send_of("", image).await
    }

    /// [`TestClient::send`] with a query string.
    pub async fn send_of(&self, query: &str, image: &bytes::Bytes) -> FrameId {
        let key = Uuid::now_v7().to_string();
        let deadline = Instant::now() + TIMEOUT;
        let mut last = String::new();
        while Instant::now() < deadline {
            let request = self
                .http
                .post(format!("{}/v1/frames?{query}", self.url))
                .bearer_auth(&self.token)
                .header("content-type", "image/png")
                .header("idempotency-key", &key)
                .body(image.clone());
            match request.send().await {
                Ok(response) if response.status() == 202 => {
                    if let Ok(accepted) = response.json::<contracts::api::FrameAccepted>().await {
                        return accepted.frame_id;
                    }
                }
                Ok(response) => {
                    let status = response.status();
                    let problem: Option<Problem> = response.json().await.ok();
                    assert!(status.is_server_error() || status == 429, "{status}: {problem:?}");
                    last = format!("{status}: {problem:?}");
                }
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a frame was not accepted within {TIMEOUT:?}: {last}");
    }

    /// Waits until a frame's results can be read.
    pub async fn results(&self, frame: FrameId) -> FrameView {
        let deadline = Instant::now() + TIMEOUT;
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.get(&format!("/v1/frames/{frame}")).send().await {
                Ok(response) if response.status().is_success() => match response.json().await {
                    Ok(view) => return view,
                    Err(error) => last = error.to_string(),
                },
                Ok(response) => last = response.status().to_string(),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("frame {frame} has no result after {TIMEOUT:?}: {last}");
    }

    pub async fn json(&self, path: &str) -> serde_json::Value {
        let response = self.get(path).send().await.unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// A subscriber that resumes after each disconnect and counts alerts.
pub struct Subscriber {
    pub seen: Arc<Mutex<BTreeMap<FrameId, u32>>>,
    pub cuts: Arc<Mutex<u32>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes, and returns when it has a cursor to resume from. It disconnects after every `every` alerts, `cuts` times in total.
    pub async fn start(client: &TestClient, path: &'static str, cuts: u32, every: u32) -> Self {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let made = Arc::new(Mutex::new(0));
        let stop = CancellationToken::new();
        let (placed, place) = tokio::sync::oneshot::channel();
        let run = follow(client.clone(), path, seen.clone(), made.clone(), (cuts, every), placed);
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                tokio::select! { () = run => {}, () = stop.cancelled() => {} }
            }
        });
        tokio::time::timeout(TIMEOUT, place).await.expect("the stream sent no cursor to resume from").unwrap();
        Self { seen, cuts: made, stop, task }
    }

    /// Waits for alerts of this many frames, and a little longer for duplicates; returns the number of alerts for each frame.
    pub async fn finish(self, frames: usize) -> BTreeMap<FrameId, u32> {
        let deadline = Instant::now() + TIMEOUT;
        while self.seen.lock().unwrap().len() < frames && Instant::now() < deadline {
            assert!(!self.task.is_finished(), "the subscriber gave up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.stop.cancel();
        self.seen.lock().unwrap().clone()
    }
}

async fn follow(
    client: TestClient,
    path: &str,
    seen: Arc<Mutex<BTreeMap<FrameId, u32>>>,
    made: Arc<Mutex<u32>>,
    (cuts, every): (u32, u32),
    placed: tokio::sync::oneshot::Sender<()>,
) {
    let http = reqwest::Client::new();
    let (mut place, mut placed): (Option<String>, _) = (None, Some(placed));
    loop {
        let mut request = http.get(format!("{}{path}", client.url)).bearer_auth(&client.token);
        if let Some(id) = &place {
            request = request.header("last-event-id", id);
        }
        let Ok(response) = request.send().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if !response.status().is_success() {
            assert!(response.status().is_server_error(), "{}", response.text().await.unwrap());
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        let (mut parser, mut bytes, mut here) = (SseParser::default(), response.bytes_stream(), 0);
        while let Some(Ok(piece)) = bytes.next().await {
            for event in parser.feed(&piece) {
                assert_ne!(event.event, "reset", "{}", event.data);
                if event.event == "alert" {
                    let alert: AlertData = serde_json::from_str(&event.data).unwrap();
                    *seen.lock().unwrap().entry(alert.frame_id).or_default() += 1;
                    here += 1;
                }
            }
            if let Some(id) = parser.last_id() {
                place = Some(id.to_owned());
                placed.take().map(|placed| placed.send(()));
            }
            if here >= every && *made.lock().unwrap() < cuts {
                *made.lock().unwrap() += 1;
                break;
            }
        }
    }
}

/// Checks that every acknowledged frame has exactly one result and one alert, and that there are no others.
pub async fn assert_nothing_lost(client: &TestClient, acknowledged: &BTreeSet<FrameId>, subscriber: Subscriber) {
    for frame in acknowledged {
        let view = client.results(*frame).await;
        assert_eq!(view.results.len(), 1, "{view:?}");
        assert_eq!(view.detections.len(), 1, "{view:?}");
    }
    let stats = client.json("/v1/stats?group_by=label").await;
    assert_eq!(stats["items"][0]["count"], acknowledged.len(), "{stats}");
    let seen = subscriber.finish(acknowledged.len()).await;
    let missing: Vec<_> = acknowledged.iter().filter(|frame| !seen.contains_key(frame)).collect();
    let repeated: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    let unknown: Vec<_> = seen.keys().filter(|frame| !acknowledged.contains(frame)).collect();
    assert!(missing.is_empty(), "{} alerts are missing: {missing:?}", missing.len());
    assert!(repeated.is_empty(), "{} alerts came more than once: {repeated:?}", repeated.len());
    assert!(unknown.is_empty(), "{} alerts are about frames that were never acknowledged: {unknown:?}", unknown.len());
}

/// Waits until the service with this operator's port has this many subscribers.
pub async fn wait_for_subscribers(admin: &str, wanted: u32) {
    let line = format!("sightline_alert_stream_subscribers {wanted}");
    wait_for_metric(admin, &line, |found| found == line).await;
}

/// Waits until the worker with this operator's port has finished a frame since its start.
pub async fn wait_for_a_frame(admin: &str) {
    let metric = "sightline_worker_frames_total";
    wait_for_metric(admin, metric, |found| found.starts_with(metric)).await;
}

async fn wait_for_metric(admin: &str, wanted: &str, is_it: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        if let Ok(response) = reqwest::get(format!("http://{admin}/metrics")).await
            && response.text().await.unwrap_or_default().lines().any(&is_it)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there was never {wanted} in the metrics of {admin}");
}

/// A photograph with one face, small enough to send a thousand times.
pub fn small_photo(test: &str) -> Option<bytes::Bytes> {
    let path = crate::processes::path_from_env(test, "SIGHTLINE_TEST_PHOTO")?;
    let photo = image::open(path).unwrap().resize(192, 192, image::imageops::FilterType::Triangle);
    let mut png = std::io::Cursor::new(Vec::new());
    photo.write_to(&mut png, image::ImageFormat::Png).unwrap();
    Some(png.into_inner().into())
}
