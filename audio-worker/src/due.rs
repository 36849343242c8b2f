//! Publishes what is due in the database: steps whose time has come, windows that nobody has begun, and tasks that were lost.
//!
//! The database hands each task to one caller, and again later if nobody reports on it, so every worker does this and none must.

use std::sync::Arc;
use std::time::Duration;

use bus::{BusError, Producer};
use contracts::{Event, MediaTask, MediaTaskEvent, TopicRole};
use jiff::Timestamp;
use media::{CLAIM_PAUSE, MediaError, Pipelines};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Shortest pause between two looks, so that many short tasks do not keep the database busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Publishes what is due. Clones wake the same task.
#[derive(Clone)]
pub struct Due(Arc<Inner>);

struct Inner {
    producer: Arc<dyn Producer>,
    pipelines: Pipelines,
    changed: Notify,
}

/// Why tasks were not published. They are handed out again.
#[derive(Debug, thiserror::Error)]
enum Unpublished {
    #[error(transparent)]
    Claim(#[from] MediaError),
    #[error("cannot send to media_tasks: {0}")]
    Send(#[from] BusError),
}

impl Due {
    /// Publishes with this producer.
    pub fn new(producer: Arc<dyn Producer>, pipelines: Pipelines) -> Self {
        Self(Arc::new(Inner { producer, pipelines, changed: Notify::new() }))
    }

    /// Something may be due now.
    pub fn wake(&self) {
        self.0.changed.notify_one();
    }

    /// Publishes until `stop`: at once after [`Self::wake`], and every five seconds.
    pub async fn keep_publishing(&self, stop: &CancellationToken) {
        let mut failing = false;
        loop {
            let outcome = self.publish().await;
            if let (Err(error), false) = (&outcome, failing) {
                tracing::warn!(%error, "what is due for books is not published; trying again");
            }
            failing = outcome.is_err();
            let pause = async {
                sleep(SHORTEST_PAUSE).await;
                // After a failure the pause is the whole one: whoever works wakes this again and again.
                tokio::select! {
                    () = self.0.changed.notified(), if !failing => {}
                    () = sleep(CLAIM_PAUSE) => {}
                }
            };
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn publish(&self) -> Result<(), Unpublished> {
        let tasks = self.0.pipelines.claim_due().await?;
        let mut sent = Vec::with_capacity(tasks.len());
        for task in tasks {
            sent.push(self.0.producer.send(TopicRole::MediaTasks, message(task))?);
        }
        for acknowledged in sent {
            acknowledged.await?;
        }
        Ok(())
    }
}

fn message(task: MediaTask) -> contracts::Message {
    MediaTaskEvent { task, published_at: Timestamp::now(), traceparent: None }.to_message()
}
