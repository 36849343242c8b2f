//! The whole worker on an embedded log in one process, as in `sightline up`; or the log alone, to measure its share.

use std::path::PathBuf;
use std::sync::Arc;

use bus::embedded::Options;
use bus::{Bus, ConsumerOptions, EmbeddedBus, Incoming};
use clap::Args;
use contracts::{Event, FrameEvent, Message, TopicRole, groups};
use detector_worker::SharedArgs;
use detector_worker::{Config, Deps};
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio_util::sync::CancellationToken;

use super::images;
use super::load::Load;
use super::measured::{WorkDone, serve};

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct PipelineChild {
    /// Folder of the images
    images: PathBuf,
    /// Folder for the log and kept images
    folder: PathBuf,
    /// Without a worker: publish a fixed result for each frame
    #[arg(long)]
    log_alone: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    shared: SharedArgs,
}

impl PipelineChild {
    /// Processes frames for each command on standard input.
    pub async fn run(self) -> anyhow::Result<()> {
        let group = groups::detector_worker(&self.shared.frames.detectors);
        let log = self.folder.join("log");
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::open(&log, &self.shared.topics.load()?, Options::default())?);
        let blobs = Arc::new(store::ObjectBlobs::folder(self.folder.join("blobs"))?);
        let images = images::read(&self.images)?;
        let warm = images.len().max(64);
        let mut load = Load::new(bus.clone(), group.clone(), images).await?;
        let working = async {
            if self.log_alone {
                return publish_fixed_results(&*bus, &group, self.config.capacity.worker_frames).await;
            }
            let deps = Deps::new(bus.clone(), blobs);
            Box::pin(detector_worker::run(self.config, self.shared, deps, CancellationToken::new())).await
        };
        let driving = async {
            load.go(warm).await?;
            serve(async |frames| load.go(frames).await.map(|_| WorkDone::default())).await
        };
        tokio::select! {
            ended = working => ended,
            ended = driving => ended,
        }
    }
}

/// Consumes frames, publishes a fixed result for each and commits, without inference.
async fn publish_fixed_results(bus: &dyn Bus, group: &str, in_flight: usize) -> anyhow::Result<()> {
    let options = ConsumerOptions { max_in_flight: in_flight, ..ConsumerOptions::default() };
    let mut consumer = bus.consumer(TopicRole::Frames, group, options).await?;
    let (finisher, producer) = (consumer.finisher(), bus.producer());
    let mut acknowledgements = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(answered) = acknowledgements.next() => finisher.finished(answered?),
            incoming = consumer.next() => {
                let Incoming::Delivery(delivery) = incoming? else { continue };
                let sent = producer.send(TopicRole::Results, result(&delivery.message)?)?;
                acknowledgements.push_back(async move { sent.await.map(|_| delivery.position) });
            }
        }
    }
}

/// A result with one face.
fn result(frame: &Message) -> anyhow::Result<Message> {
    let event = FrameEvent::from_message(frame)?;
    let bounds = contracts::BoundingBox { x: 1.5, y: 2.5, width: 100.25, height: 120.75 };
    let found = contracts::Detection {
        label: "face".to_owned(),
        confidence: 0.9123,
        bounds: Some(bounds),
        landmarks: vec![contracts::Point { x: 10.25, y: 20.75 }; 5],
        attributes: contracts::Attributes::default(),
    };
    let result = contracts::ResultEvent {
        id: uuid::Uuid::now_v7(),
        tenant: event.tenant,
        key: event.id.to_string(),
        traceparent: None,
        reply_to: None,
        retention: None,
        data: contracts::result::ResultData {
            frame_id: event.id,
            stream: None,
            detector: contracts::DetectorName::try_from("face".to_owned())?,
            model: "none".to_owned(),
            captured_at: event.captured_at,
            processed_at: jiff::Timestamp::now(),
            outcome: contracts::Outcome::Ok { width: 640, height: 480, detections: vec![found], image: None },
        },
    };
    Ok(result.to_message())
}
