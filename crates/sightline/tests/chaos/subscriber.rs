//! A subscriber that disconnects often, after any event, and is disconnected by faults.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::FrameId;
use contracts::alert::AlertData;
use fastrand::Rng;
use tokio_stream::StreamExt;
use tokio_util::task::AbortOnDropHandle;

use crate::delivery::TestClient;
use crate::processes::TIMEOUT;
use platform::sse::{SseEvent, SseParser};

/// Number of alerts after which it disconnects itself.
const ALERTS_BETWEEN_DISCONNECTS: std::ops::RangeInclusive<u32> = 1..=90;
/// The stream sends something at least every 15 seconds.
const SILENCE: Duration = Duration::from_secs(40);

/// A subscriber and the alerts that it received.
pub struct Subscriber {
    pub name: &'static str,
    /// Filter on a stream.
    pub stream: Option<&'static str>,
    notes: Arc<Notes>,
    task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Notes {
    /// Number of alerts for each frame.
    seen: Mutex<BTreeMap<FrameId, u32>>,
    own_disconnects: AtomicU32,
    other_disconnects: AtomicU32,
}

impl Subscriber {
    /// Subscribes, and returns when it has a cursor to resume from.
    pub async fn start(name: &'static str, client: TestClient, stream: Option<&'static str>, rng: Rng) -> Self {
        let notes = Arc::new(Notes::default());
        let (placed, place) = tokio::sync::oneshot::channel();
        let filter = stream.map(|stream| format!("?stream={stream}")).unwrap_or_default();
        let task = tokio::spawn(follow(client, filter, notes.clone(), rng, placed));
        tokio::time::timeout(TIMEOUT, place).await.expect("the stream sent no cursor to resume from").unwrap();
        Self { name, stream, notes, task: AbortOnDropHandle::new(task) }
    }

    /// Number of frames with an alert.
    pub fn received(&self) -> usize {
        assert!(!self.task.is_finished(), "{} gave up", self.name);
        self.notes.seen.lock().unwrap().len()
    }

    /// Number of alerts for each frame.
    pub fn counts(&self) -> BTreeMap<FrameId, u32> {
        self.notes.seen.lock().unwrap().clone()
    }

    /// How often it disconnected itself, and how often the connection was lost otherwise.
    pub fn disconnects(&self) -> (u32, u32) {
        (self.notes.own_disconnects.load(Ordering::Relaxed), self.notes.other_disconnects.load(Ordering::Relaxed))
    }
}

async fn follow(
    client: TestClient,
    filter: String,
    notes: Arc<Notes>,
    mut rng: Rng,
    placed: tokio::sync::oneshot::Sender<()>,
) {
    let http = reqwest::Client::builder().read_timeout(SILENCE).build().unwrap();
    let (mut place, mut placed): (Option<String>, _) = (None, Some(placed));
    loop {
        let mut request = http.get(format!("{}/v1/alerts{filter}", client.url)).bearer_auth(&client.token);
        if let Some(id) = &place {
            request = request.header("last-event-id", id);
        }
        let response = match request.send().await {
            Ok(response) if response.status().is_success() => response,
            other => {
                if let Ok(refused) = other {
                    assert!(refused.status().is_server_error(), "{}", refused.text().await.unwrap_or_default());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let mut wanted = rng.u32(ALERTS_BETWEEN_DISCONNECTS);
        let (mut parser, mut bytes) = (SseParser::default(), response.bytes_stream());
        'connection: loop {
            let Some(Ok(piece)) = bytes.next().await else {
                notes.other_disconnects.fetch_add(1, Ordering::Relaxed);
                break;
            };
            // Byte by byte, so that it can disconnect between any two events.
            for byte in piece.chunks(1) {
                let events = parser.feed(byte);
                if let Some(id) = parser.last_id().filter(|id| place.as_deref() != Some(*id)) {
                    place = Some(id.to_owned());
                    placed.take().map(|placed| placed.send(()));
                }
                for event in events {
                    wanted -= notes.take(&event);
                }
                if wanted == 0 {
                    notes.own_disconnects.fetch_add(1, Ordering::Relaxed);
                    break 'connection;
                }
            }
        }
    }
}

impl Notes {
    /// Records an event; returns the number of alerts in it, 0 or 1.
    fn take(&self, event: &SseEvent) -> u32 {
        assert_ne!(event.event, "reset", "{}", event.data);
        if event.event != "alert" {
            return 0;
        }
        let alert: AlertData = serde_json::from_str(&event.data).unwrap();
        *self.seen.lock().unwrap().entry(alert.frame_id).or_default() += 1;
        1
    }
}
