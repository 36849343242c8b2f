//! Load for a worker: sends frames to a log and waits for their results.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bus::{Bus, Reader, ReaderItem, Start};
use bytes::Bytes;
use contracts::{Event, FrameContent, FrameEvent, FrameId, Outcome, ResultEvent, TenantId, TopicRole};

use crate::sending::send_all;

/// Time limit between two results.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Load for the workers of one consumer group.
pub struct Load {
    bus: Arc<dyn Bus>,
    group: String,
    results: Box<dyn Reader>,
    images: Vec<Bytes>,
}

impl Load {
    /// Sends these images in rotation to this log.
    pub async fn new(bus: Arc<dyn Bus>, group: String, images: Vec<Bytes>) -> anyhow::Result<Self> {
        let results = bus.reader(TopicRole::Results, Start::Latest).await?;
        Ok(Self { bus, group, results, images })
    }

    /// Sends this many frames, waits until every result has arrived and every offset is committed; returns the arrival time of each result.
    pub async fn go(&mut self, frames: usize) -> anyhow::Result<Vec<Instant>> {
        let (bus, images) = (self.bus.clone(), self.images.clone());
        let sending = tokio::spawn(async move { send(&*bus, &images, frames).await });
        let mut came = Vec::with_capacity(frames);
        while came.len() < frames {
            let next = tokio::time::timeout(TIMEOUT, self.results.next()).await;
            let item = next.with_context(|| format!("no result for {TIMEOUT:?}; see the worker's log output"))??;
            let ReaderItem::Delivery(delivery) = item else { continue };
            came.push(Instant::now());
            // Decoding every result would cost CPU time in the process that is measured.
            if came.len() == 1 {
                let result = ResultEvent::from_message(&delivery.message)?;
                ensure!(
                    matches!(result.data.outcome, Outcome::Ok { .. }),
                    "the worker failed: {:?}",
                    result.data.outcome
                );
            }
        }
        sending.await??;
        while self.bus.oldest_unconsumed(TopicRole::Frames, &self.group).await?.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(came)
    }
}

async fn send(bus: &dyn Bus, images: &[Bytes], frames: usize) -> anyhow::Result<()> {
    let frames = images.iter().cycle().take(frames).cloned().map(|image| Ok(frame(image).to_message()));
    send_all(&*bus.producer(), TopicRole::Frames, frames).await
}

/// No stream, so that frames spread over all partitions.
fn frame(image: Bytes) -> FrameEvent {
    FrameEvent {
        id: FrameId::now(),
        tenant: TenantId::shared(),
        stream: None,
        captured_at: jiff::Timestamp::now(),
        detectors: Vec::new(),
        retention: None,
        content_type: "image/jpeg".to_owned(),
        content: FrameContent::Inline(image),
        reply_to: None,
        traceparent: None,
    }
}
