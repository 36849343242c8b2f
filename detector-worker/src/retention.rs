//! Deletes kept images and inbox images whose retention has passed.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError};
use contracts::{BlobKind, TopicRole};
use store::Blobs;

/// Time between two sweeps.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Deletes old images from the blob store.
pub struct Sweeper {
    /// The bus, for the oldest frame that the consumer group still needs.
    pub bus: Arc<dyn Bus>,
    /// The blob store.
    pub blobs: Arc<dyn Blobs>,
    /// The worker's consumer group.
    pub group: String,
    /// Retention of kept images.
    pub kept_images: Duration,
    /// Retention of images in the inbox, which is the retention of the frames topic.
    pub inbox: Duration,
}

impl Sweeper {
    /// Sweeps at once and then every hour, without end. An inbox image is not deleted after its frame is processed, because
    /// other consumer groups may still need it.
    pub async fn run(self) {
        let mut hourly = tokio::time::interval(INTERVAL);
        loop {
            hourly.tick().await;
            self.sweep(BlobKind::Frames, Ok(self.kept_images)).await;
            // The day in their keys is the last one.
            self.sweep(BlobKind::FramesUntil, Ok(Duration::ZERO)).await;
            self.sweep(BlobKind::Inbox, self.inbox_age().await).await;
        }
    }

    /// The embedded bus keeps unconsumed frames beyond the topic's retention; then their images must be kept as long.
    async fn inbox_age(&self) -> Result<Duration, BusError> {
        let oldest = self.bus.oldest_unconsumed(TopicRole::Frames, &self.group).await?;
        let waiting = oldest.and_then(|since| since.elapsed().ok()).unwrap_or_default();
        Ok(self.inbox.max(waiting))
    }

    async fn sweep(&self, kind: BlobKind, age: Result<Duration, BusError>) {
        let deleted = match age {
            Ok(age) => self.blobs.sweep(kind, age).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match deleted {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(kind = kind.as_str(), deleted, "deleted old images"),
            Err(error) => {
                tracing::warn!(kind = kind.as_str(), error, "old images could not be deleted; retrying in an hour");
            }
        }
    }
}
