//! An embedded bus and a blob store in a temporary folder, detectors with a given behaviour, and workers on them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bus, BusError, Delivery, EmbeddedBus, Position, ReaderItem, Start};
use bytes::Bytes;
use clap::Parser;
use contracts::{
    Attributes, BlobKey, BlobKind, DeadLetter, Detection, DetectorName, Event, FrameContent, FrameEvent, FrameId,
    Message, Outcome, ResultEvent, TenantId, TopicRole, Topics, groups, topics,
};
use detector_worker::identity::FaceIdentifier;
use detector_worker::{Config, Deps, SharedArgs};
use store::{Blobs, ObjectBlobs};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vision::inference::DetectorSpec;
use vision::model::{self, Detector, Image};

/// Time limit of every wait.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Settings {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub common: SharedArgs,
}

pub fn settings(state: &Path, flags: &[&str]) -> Settings {
    let state = state.to_str().unwrap();
    let usual = ["worker", "--worker-state-dir", state, "--inference-threads", "2", "--decode-threads", "2"];
    Settings::parse_from(usual.iter().chain(flags))
}

pub fn name(detector: &str) -> DetectorName {
    detector.parse().unwrap()
}

type Detect = dyn Fn(&Image) -> model::Outcome + Send + Sync;

/// A detector that calls a function of the test.
struct FakeDetector {
    name: DetectorName,
    function: Arc<Detect>,
}

impl Detector for FakeDetector {
    fn name(&self) -> &DetectorName {
        &self.name
    }

    fn model(&self) -> &str {
        "fake"
    }

    fn max_batch(&self) -> usize {
        1
    }

    fn detect(&mut self, batch: &[Arc<Image>]) -> Vec<model::Outcome> {
        batch.iter().map(|image| (self.function)(image)).collect()
    }
}

pub fn fake(detector: &str, function: impl Fn(&Image) -> model::Outcome + Send + Sync + 'static) -> DetectorSpec {
    let (detector, function): (DetectorName, Arc<Detect>) = (name(detector), Arc::new(function));
    let opened = detector.clone();
    let open = Arc::new(move || {
        let detector: Box<dyn Detector> = Box::new(FakeDetector { name: opened.clone(), function: function.clone() });
        Ok(detector)
    });
    DetectorSpec { name: detector, description: "a fake".to_owned(), open }
}

/// A detector that returns one [`detection`] per image.
pub fn finds_one(detector: &str) -> DetectorSpec {
    let label = detector.to_owned();
    fake(detector, move |image| Ok(vec![detection(&label, image)].into()))
}

/// A detection whose confidence is the width of the image divided by 100.
pub fn detection(label: &str, image: &Image) -> Detection {
    let confidence = f64::from(image.pixels.width()) / 100.0;
    Detection {
        label: label.to_owned(),
        confidence,
        bounds: None,
        landmarks: Vec::new(),
        attributes: Attributes::default(),
    }
}

/// A PNG of this size, which must be at most 100 wide for [`detection`].
pub fn png(width: u32, height: u32) -> Bytes {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let pixels: Vec<u8> = (0..width * height * 3).map(|byte| (byte * 31 % 251) as u8).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes.into()
}

/// Key under which ingest-api stores the image of a large frame.
pub fn inbox(frame: &FrameEvent) -> BlobKey {
    BlobKey::new(BlobKind::Inbox, jiff::Timestamp::now(), &frame.tenant, frame.id)
}

pub fn frame(stream: &str, image: Bytes) -> FrameEvent {
    FrameEvent {
        id: FrameId::now(),
        tenant: TenantId::admin(),
        stream: Some(stream.parse().unwrap()),
        captured_at: jiff::Timestamp::now(),
        detectors: Vec::new(),
        retention: None,
        content_type: "image/png".to_owned(),
        content: FrameContent::Inline(image),
        reply_to: None,
        traceparent: None,
    }
}

/// The backends of a worker, and their folder.
pub struct TestWorker {
    pub bus: Arc<dyn Bus>,
    pub blobs: Arc<dyn Blobs>,
    pub folder: tempfile::TempDir,
}

impl TestWorker {
    pub fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    pub fn in_folder(folder: tempfile::TempDir) -> Self {
        let (bus, blobs) = open(folder.path());
        Self { bus, blobs, folder }
    }

    pub async fn send(&self, frame: &FrameEvent) -> Position {
        self.send_message(frame.to_message()).await
    }

    pub async fn send_message(&self, message: Message) -> Position {
        self.bus.producer().send(TopicRole::Frames, message).unwrap().await.unwrap()
    }

    pub fn start(&self, detectors: Vec<DetectorSpec>, flags: &[&str]) -> RunningWorker {
        self.start_on(self.bus.clone(), self.blobs.clone(), detectors, flags)
    }

    /// Starts a worker that compares faces.
    pub fn start_with(
        &self,
        detectors: Vec<DetectorSpec>,
        identifier: Option<FaceIdentifier>,
        flags: &[&str],
    ) -> RunningWorker {
        self.run(self.bus.clone(), self.blobs.clone(), detectors, identifier, flags)
    }

    /// Starts a worker on other backends, usually wrappers of these.
    pub fn start_on(
        &self,
        bus: Arc<dyn Bus>,
        blobs: Arc<dyn Blobs>,
        detectors: Vec<DetectorSpec>,
        flags: &[&str],
    ) -> RunningWorker {
        self.run(bus, blobs, detectors, None, flags)
    }

    fn run(
        &self,
        bus: Arc<dyn Bus>,
        blobs: Arc<dyn Blobs>,
        detectors: Vec<DetectorSpec>,
        identifier: Option<FaceIdentifier>,
        flags: &[&str],
    ) -> RunningWorker {
        let names: Vec<DetectorName> = detectors.iter().map(|spec| spec.name.clone()).collect();
        let Settings { config, common } = settings(&self.folder.path().join("state"), flags);
        let (stop, deps) = (CancellationToken::new(), Deps::new(bus.clone(), blobs));
        let work = detector_worker::run_with(detectors, identifier, config, common, deps, stop.clone());
        RunningWorker { task: tokio::spawn(work), stop, bus, group: groups::detector_worker(&names) }
    }

    pub async fn all(&self, role: TopicRole) -> Vec<Delivery> {
        all(&*self.bus, role).await
    }

    pub async fn results(&self) -> Vec<ResultEvent> {
        let messages = self.all(TopicRole::Results).await.into_iter();
        messages.map(|delivery| ResultEvent::from_message(&delivery.message).unwrap()).collect()
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        let messages = self.all(TopicRole::FramesDlq).await.into_iter();
        messages.map(|delivery| DeadLetter::from_message(&delivery.message).unwrap()).collect()
    }
}

pub fn open(folder: &Path) -> (Arc<dyn Bus>, Arc<dyn Blobs>) {
    let topics = Topics::parse(topics::DEFAULT).unwrap();
    let bus = EmbeddedBus::open(&folder.join("log"), &topics, bus::embedded::Options::default()).unwrap();
    let blobs = ObjectBlobs::open(&format!("file://{}", folder.join("blobs").display())).unwrap();
    (Arc::new(bus), Arc::new(blobs))
}

/// All messages of a topic up to now.
pub async fn all(bus: &dyn Bus, role: TopicRole) -> Vec<Delivery> {
    let count: i64 = bus.ranges(role).await.unwrap().iter().map(|range| range.end - range.earliest).sum();
    let mut reader = bus.reader(role, Start::Earliest).await.unwrap();
    let mut found = Vec::new();
    while (found.len() as i64) < count {
        match reader.next().await.unwrap() {
            ReaderItem::Delivery(delivery) => found.push(delivery),
            ReaderItem::Gap { .. } => panic!("messages are missing"),
        }
    }
    found
}

pub struct RunningWorker {
    pub task: JoinHandle<anyhow::Result<()>>,
    pub stop: CancellationToken,
    pub bus: Arc<dyn Bus>,
    group: String,
}

impl RunningWorker {
    /// Waits until the consumer group has committed every frame.
    pub async fn caught_up(&self) {
        until("everything is consumed", async || {
            assert!(!self.task.is_finished(), "the worker ended early");
            self.bus.oldest_unconsumed(TopicRole::Frames, &self.group).await.unwrap().is_none()
        })
        .await;
    }

    /// Stops the worker and asserts that it ends without an error.
    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.expect("a stop ends").unwrap().unwrap();
    }

    /// Aborts the worker with its frames in flight, like a crash.
    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// The error that ends the worker.
    pub async fn error(self) -> String {
        let ended = tokio::time::timeout(DEADLINE, self.task).await.expect("the worker ends");
        format!("{:#}", ended.unwrap().unwrap_err())
    }
}

/// Waits until a condition is true.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn detections(result: &ResultEvent) -> &[Detection] {
    match &result.data.outcome {
        Outcome::Ok { detections, .. } => detections,
        Outcome::Failed { code, message } => panic!("{}: {message}", code.as_str()),
    }
}

pub fn unavailable() -> BusError {
    BusError::Unavailable("temporarily unreachable".to_owned())
}
