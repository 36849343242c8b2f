//! The clients' books: which frames were acknowledged, and what became of them as a client sees it.

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

use crate::ledger::Target;
use crate::processes::PATIENCE;
use crate::site::Site;
use crate::subscriber::Subscriber;

/// Clients that send at the same time; the first half sends streams, the others single frames.
const CLIENTS: usize = 8;
pub const STREAMS: [&str; CLIENTS / 2] = ["cam-0", "cam-1", "cam-2", "cam-3"];
/// Of so many frames one is too large for a message and goes through the blob store.
const LARGE_EVERY: usize = 150;

/// The acknowledged frames, with their streams.
type Acknowledged = BTreeMap<FrameId, Option<&'static str>>;

/// What everybody who sends shares.
pub struct Books {
    target: Target,
    small: Bytes,
    large: Bytes,
    acknowledged: Mutex<Acknowledged>,
    /// Frames that are to be acknowledged at least.
    wanted: usize,
    /// No fault comes any more: nobody has to hold back.
    calm: AtomicBool,
}

impl Books {
    pub fn new(target: Target, small: Bytes, large: Bytes, wanted: usize) -> Arc<Self> {
        let (acknowledged, calm) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { target, small, large, acknowledged, wanted, calm })
    }

    /// How many frames were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Sends a frame until it is acknowledged, and writes it down.
    pub async fn send(&self, stream: Option<&'static str>, large: bool) -> FrameId {
        let query = stream.map(|stream| format!("stream={stream}")).unwrap_or_default();
        let frame = self.target.send_of(&query, if large { &self.large } else { &self.small }).await;
        let before = self.acknowledged.lock().unwrap().insert(frame, stream);
        assert!(before.is_none(), "two frames were acknowledged as {frame}");
        frame
    }

    /// Clients that send together `rate` frames a second while faults come, and then as many as they can, until as many
    /// as wanted were acknowledged.
    pub fn start_clients(self: &Arc<Self>, rate: f64, rng: &mut Rng) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (books, stream, mut rng) = (self.clone(), STREAMS.get(client).copied(), rng.fork());
            let mut pace = tokio::time::interval(Duration::from_secs_f64(CLIENTS as f64 / rate));
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            clients.spawn(async move {
                while !books.calm.load(Ordering::Relaxed) || books.acknowledged() < books.wanted {
                    if !books.calm.load(Ordering::Relaxed) {
                        pace.tick().await;
                    }
                    books.send(stream, rng.usize(0..LARGE_EVERY) == 0).await;
                }
            });
        }
        clients
    }

    /// No fault comes any more.
    pub fn be_calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Waits until everything acknowledged can be seen everywhere, and a little longer for what should not come; then judges.
    pub async fn judge(&self, site: &Site, subscribers: &[Subscriber]) -> Verdict {
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        let expected = |subscriber: &Subscriber| expected_by(&acknowledged, subscriber).count();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && subscribers.iter().any(|one| one.heard() < expected(one)) {
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
        let topics = topics(site).await;
        Verdict { acknowledged: acknowledged.len(), documents, alerts, topics }
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
                documents.doubled += 1;
            } else if !is_whole {
                documents.wrong.push(frame);
            }
        }
        documents.missing = acknowledged.len() - found.len();
        let detections = self.list::<DetectionView>("/v1/detections").await;
        documents.detections = detections.len();
        let distinct: BTreeSet<FrameId> = detections.iter().map(|detection| detection.frame_id).collect();
        documents.doubled += detections.len() - distinct.len();
        documents
    }

    /// All pages of a list.
    async fn list<T: DeserializeOwned>(&self, path: &str) -> Vec<T> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.target.json(&format!("{path}?limit=1000{cursor}")).await;
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
    let hears = move |stream: &Option<&str>| wanted.is_none() || *stream == wanted;
    acknowledged.iter().filter(move |(_, stream)| hears(stream)).map(|(frame, _)| frame)
}

/// What the documents say.
#[derive(Debug, Default)]
pub struct Documents {
    pub results: usize,
    pub detections: usize,
    pub missing: usize,
    /// More than one result or detection of a frame, or a frame listed twice.
    pub doubled: usize,
    pub unknown: usize,
    /// Frames whose results are not what was in the image.
    pub wrong: Vec<FrameView>,
}

impl Documents {
    pub fn are_clean(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.unknown == 0 && self.wrong.is_empty()
    }
}

/// What one subscriber heard.
#[derive(Debug)]
pub struct Alerts {
    pub name: &'static str,
    pub expected: usize,
    pub cuts: u32,
    pub breaks: u32,
    pub missing: Vec<FrameId>,
    pub repeated: Vec<FrameId>,
    pub unknown: Vec<FrameId>,
}

impl Alerts {
    fn of(subscriber: &Subscriber, acknowledged: &Acknowledged) -> Self {
        let expected: BTreeSet<FrameId> = expected_by(acknowledged, subscriber).copied().collect();
        let seen = subscriber.seen();
        let (cuts, breaks) = subscriber.cuts_and_breaks();
        Self {
            name: subscriber.name,
            expected: expected.len(),
            cuts,
            breaks,
            missing: expected.iter().filter(|frame| !seen.contains_key(frame)).copied().collect(),
            repeated: seen.iter().filter(|(_, count)| **count > 1).map(|(frame, _)| *frame).collect(),
            unknown: seen.keys().filter(|frame| !expected.contains(frame)).copied().collect(),
        }
    }

    pub fn are_clean(&self) -> bool {
        self.missing.is_empty() && self.repeated.is_empty() && self.unknown.is_empty()
    }
}

/// What lies on a topic. Repeats there are allowed: it is read at least once, and who reads it drops them.
#[derive(Debug)]
pub struct OnTopic {
    pub role: TopicRole,
    pub records: usize,
    pub distinct: usize,
}

async fn topics(site: &Site) -> Vec<OnTopic> {
    let bus = KafkaBus::connect(KafkaConfig::new(site.servers.brokers()), &site.topics).await.unwrap();
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

/// What the books say in the end.
#[derive(Debug)]
pub struct Verdict {
    pub acknowledged: usize,
    pub documents: Documents,
    pub alerts: Vec<Alerts>,
    pub topics: Vec<OnTopic>,
}

impl Verdict {
    /// Frames given up although nothing is wrong with them.
    pub fn dead_letters(&self) -> usize {
        let is_dead = |topic: &&OnTopic| matches!(topic.role, TopicRole::FramesDlq | TopicRole::ResultsDlq);
        self.topics.iter().filter(is_dead).map(|topic| topic.records).sum()
    }

    /// Fails the test where anything was lost or doubled.
    pub fn assert_clean(&self) {
        assert!(self.documents.are_clean(), "{:?}", self.documents);
        for alerts in &self.alerts {
            assert!(alerts.are_clean(), "{alerts:?}");
        }
        assert_eq!(self.dead_letters(), 0, "{:?}", self.topics);
    }
}
