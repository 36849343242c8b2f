//! The frames that clients sent: which were acknowledged, and which results and alerts clients can read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::{Bus, KafkaBus, KafkaConfig, ReaderItem, Start};
use bytes::Bytes;
use contracts::api::{DetectionView, FrameView, Page, ResultStatus};
use contracts::{FrameId, StreamName, TopicRole};
use fastrand::Rng;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::delivery::TestClient;
use crate::deployment::TestDeployment;
use crate::processes::TIMEOUT;
use crate::subscriber::Subscriber;

/// Number of concurrent clients; the first half sends streams, the others frames without a stream.
const CLIENTS: usize = 8;
pub const STREAMS: [&str; CLIENTS / 2] = ["cam-0", "cam-1", "cam-2", "cam-3"];
/// One of this many frames is too large for a message and goes through the blob store.
const LARGE_EVERY: usize = 150;

/// The acknowledged frames, with their streams.
type Acknowledged = BTreeMap<FrameId, Option<&'static str>>;

/// State shared by all clients.
pub struct SentFrames {
    client: TestClient,
    small: Bytes,
    large: Bytes,
    acknowledged: Mutex<Acknowledged>,
    /// Minimum number of frames to send.
    wanted: usize,
    /// No more faults follow, so clients send as fast as they can.
    faults_over: AtomicBool,
}

impl SentFrames {
    pub fn new(client: TestClient, small: Bytes, large: Bytes, wanted: usize) -> Arc<Self> {
        let (acknowledged, faults_over) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { client, small, large, acknowledged, wanted, faults_over })
    }

    /// Number of acknowledged frames.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Sends a frame until it is acknowledged, and records it.
    pub async fn send(&self, stream: Option<&'static str>, large: bool) -> FrameId {
        let query = stream.map(|stream| format!("stream={stream}")).unwrap_or_default();
        let frame = self.client.send_of(&query, if large { &self.large } else { &self.small }).await;
        let before = self.acknowledged.lock().unwrap().insert(frame, stream);
        assert!(before.is_none(), "two frames were acknowledged as {frame}");
        frame
    }

    /// Starts clients that together send `rate` frames/s during the faults, and then as fast as they can, until `wanted` frames are
    /// acknowledged.
    pub fn start_clients(self: &Arc<Self>, rate: f64, rng: &mut Rng) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (sent, stream, mut rng) = (self.clone(), STREAMS.get(client).copied(), rng.fork());
            let mut pace = tokio::time::interval(Duration::from_secs_f64(CLIENTS as f64 / rate));
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            clients.spawn(async move {
                while !sent.faults_over.load(Ordering::Relaxed) || sent.acknowledged() < sent.wanted {
                    if !sent.faults_over.load(Ordering::Relaxed) {
                        pace.tick().await;
                    }
                    sent.send(stream, rng.usize(0..LARGE_EVERY) == 0).await;
                }
            });
        }
        clients
    }

    /// No more faults follow.
    pub fn end_faults(&self) {
        self.faults_over.store(true, Ordering::Relaxed);
    }

    /// Waits until all results and alerts of acknowledged frames are visible, and a little longer for repeats; then compares.
    pub async fn verify(&self, deployment: &TestDeployment, subscribers: &[Subscriber]) -> Verification {
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        let expected = |subscriber: &Subscriber| expected_by(&acknowledged, subscriber).count();
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline && subscribers.iter().any(|one| one.received() < expected(one)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let documents = loop {
            let documents = self.documents(&acknowledged).await;
            if documents.are_clean() || Instant::now() > deadline {
                break documents;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let alerts = subscribers.iter().map(|one| Alerts::of(one, &acknowledged)).collect();
        let topics = topics(deployment).await;
        Verification { acknowledged: acknowledged.len(), documents, alerts, topics }
    }

    async fn documents(&self, acknowledged: &Acknowledged) -> Documents {
        let mut documents = Documents::default();
        let mut found = BTreeSet::new();
        for frame in self.list::<FrameView>("/v1/frames").await {
            documents.results += frame.results.len();
            let is_whole = frame.results.len() == 1
                && frame.detections.len() == 1
                && frame.results[0].status == ResultStatus::Ok
                && frame.stream.as_ref().map(StreamName::as_str)
                    == acknowledged.get(&frame.frame_id).copied().flatten();
            if !acknowledged.contains_key(&frame.frame_id) {
                documents.unknown += 1;
            } else if !found.insert(frame.frame_id) {
                documents.duplicates += 1;
            } else if !is_whole {
                documents.wrong.push(frame);
            }
        }
        documents.missing = acknowledged.len() - found.len();
        let detections = self.list::<DetectionView>("/v1/detections").await;
        documents.detections = detections.len();
        let distinct: BTreeSet<FrameId> = detections.iter().map(|detection| detection.frame_id).collect();
        documents.duplicates += detections.len() - distinct.len();
        documents
    }

    /// All pages of a list.
    async fn list<T: DeserializeOwned>(&self, path: &str) -> Vec<T> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.client.json(&format!("{path}?limit=1000{cursor}")).await;
            let page: Page<T> = serde_json::from_value(page).unwrap();
            all.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}

fn expected_by<'a>(acknowledged: &'a Acknowledged, subscriber: &Subscriber) -> impl Iterator<Item = &'a FrameId> {
    let wanted = subscriber.stream;
    let receives = move |stream: &Option<&str>| wanted.is_none() || *stream == wanted;
    acknowledged.iter().filter(move |(_, stream)| receives(stream)).map(|(frame, _)| frame)
}

/// The stored documents.
#[derive(Debug, Default)]
pub struct Documents {
    pub results: usize,
    pub detections: usize,
    pub missing: usize,
    /// More than one result or detection of a frame, or a frame listed twice.
    pub duplicates: usize,
    pub unknown: usize,
    /// Frames whose results do not match the image.
    pub wrong: Vec<FrameView>,
}

impl Documents {
    pub fn are_clean(&self) -> bool {
        self.missing == 0 && self.duplicates == 0 && self.unknown == 0 && self.wrong.is_empty()
    }
}

/// The alerts of one subscriber.
#[derive(Debug)]
pub struct Alerts {
    pub name: &'static str,
    pub expected: usize,
    pub own_disconnects: u32,
    pub other_disconnects: u32,
    pub missing: Vec<FrameId>,
    pub repeated: Vec<FrameId>,
    pub unknown: Vec<FrameId>,
}

impl Alerts {
    fn of(subscriber: &Subscriber, acknowledged: &Acknowledged) -> Self {
        let expected: BTreeSet<FrameId> = expected_by(acknowledged, subscriber).copied().collect();
        let seen = subscriber.counts();
        let (own_disconnects, other_disconnects) = subscriber.disconnects();
        Self {
            name: subscriber.name,
            expected: expected.len(),
            own_disconnects,
            other_disconnects,
            missing: expected.iter().filter(|frame| !seen.contains_key(frame)).copied().collect(),
            repeated: seen.iter().filter(|(_, count)| **count > 1).map(|(frame, _)| *frame).collect(),
            unknown: seen.keys().filter(|frame| !expected.contains(frame)).copied().collect(),
        }
    }

    pub fn are_clean(&self) -> bool {
        self.missing.is_empty() && self.repeated.is_empty() && self.unknown.is_empty()
    }
}

/// The records of a topic. Repeats are allowed, because consumers drop them.
#[derive(Debug)]
pub struct OnTopic {
    pub role: TopicRole,
    pub records: usize,
    pub distinct: usize,
}

async fn topics(deployment: &TestDeployment) -> Vec<OnTopic> {
    let bus = KafkaBus::connect(KafkaConfig::new(deployment.servers.brokers()), &deployment.topics).await.unwrap();
    let mut topics = Vec::new();
    for role in [TopicRole::Frames, TopicRole::Results, TopicRole::Alerts, TopicRole::FramesDlq, TopicRole::ResultsDlq]
    {
        let mut left: usize = bus
            .ranges(role)
            .await
            .unwrap()
            .iter()
            .map(|range| usize::try_from(range.end - range.earliest).unwrap())
            .sum();
        let (mut records, mut distinct) = (0, BTreeSet::new());
        let mut reader = bus.reader(role, Start::Earliest).await.unwrap();
        while left > 0 {
            let ReaderItem::Delivery(delivery) = reader.next().await.unwrap() else {
                panic!("retention dropped records")
            };
            let message = delivery.message;
            let id = match role {
                TopicRole::Results => message.headers.text("ce_subject"),
                _ => message.headers.text("ce_id"),
            };
            distinct.insert(id.unwrap_or_default().to_owned());
            records += 1;
            left -= 1;
        }
        topics.push(OnTopic { role, records, distinct: distinct.len() });
    }
    topics
}

/// The result of the comparison.
#[derive(Debug)]
pub struct Verification {
    pub acknowledged: usize,
    pub documents: Documents,
    pub alerts: Vec<Alerts>,
    pub topics: Vec<OnTopic>,
}

impl Verification {
    /// Number of dead letters; there must be none, because every frame is valid.
    pub fn dead_letters(&self) -> usize {
        let is_dead = |topic: &&OnTopic| matches!(topic.role, TopicRole::FramesDlq | TopicRole::ResultsDlq);
        self.topics.iter().filter(is_dead).map(|topic| topic.records).sum()
    }

    /// Fails the test if anything was lost or repeated.
    pub fn assert_clean(&self) {
        assert!(self.documents.are_clean(), "{:?}", self.documents);
        for alerts in &self.alerts {
            assert!(alerts.are_clean(), "{alerts:?}");
        }
        assert_eq!(self.dead_letters(), 0, "{:?}", self.topics);
    }
}
