//! Publishes how far a book is, for those who watch it. What counts is in the database; an event that is lost is made up for by the next one.

use std::sync::Arc;

use bus::{Bus, Producer};
use contracts::{Event, MediaProgressEvent, TopicRole};
use media::Pipelines;
use store::relational::PipelineRecord;
use uuid::Uuid;

/// Sends events to the topic of progress.
#[derive(Clone)]
pub struct Progress {
    producer: Arc<dyn Producer>,
    pipelines: Pipelines,
}

impl Progress {
    /// Sends through the producer of the log.
    pub fn new(bus: &dyn Bus, pipelines: Pipelines) -> Self {
        Self { producer: bus.producer(), pipelines }
    }

    /// Publishes how far a book is now. Best effort.
    pub async fn publish(&self, pipeline: &PipelineRecord) {
        let data = match self.pipelines.progress(pipeline).await {
            Ok(data) => data,
            Err(error) => {
                tracing::debug!(%error, book.id = %pipeline.book, "the progress of a book is not published");
                return;
            }
        };
        let event = MediaProgressEvent { id: Uuid::now_v7(), data };
        // It is sent also if nobody awaits the acknowledgement.
        if let Err(error) = self.producer.send(TopicRole::MediaProgress, event.to_message()).map(drop) {
            tracing::debug!(%error, book.id = %pipeline.book, "the progress of a book is not published");
        }
    }
}
