//! A member of a consumer group that retries by itself.

use std::sync::Arc;

use bus::{Bus, Consumer, ConsumerOptions, Finisher, Incoming};
use contracts::TopicRole;
use metrics::Counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::retry::{Interrupted, Retry};

/// A consumer group: its topic, its name, and the limits of a member.
#[derive(Debug, Clone)]
pub struct Group {
    /// The topic.
    pub role: TopicRole,
    /// Name of the consumer group, such as [`contracts::groups::INDEXER`].
    pub name: String,
    /// Limits on unfinished messages.
    pub options: ConsumerOptions,
    /// Counts retries; [`Counter::noop`] for no metric.
    pub retries: Counter,
}

/// A member of a consumer group. Dropping it leaves the group without draining.
pub struct GroupReader {
    consumer: Box<dyn Consumer>,
    group: String,
    retry: Retry,
    /// Time of the next read after an error. A field, so that dropping the future of `next` does not shorten the pause.
    retry_at: Option<Instant>,
    stop: CancellationToken,
}

impl GroupReader {
    /// Joins the group, with retries. Returns `None` when `stop` comes first.
    ///
    /// # Errors
    /// When the log refuses for good.
    pub async fn join(bus: &dyn Bus, group: &Group, stop: &CancellationToken) -> anyhow::Result<Option<Self>> {
        let topic = bus.topic(group.role);
        let joining = format!("cannot join consumer group {} of topic {topic}", group.name);
        let mut retry = Retry::new(joining, backoff::READ, stop).counted(group.retries.clone());
        let consumer = loop {
            match bus.consumer(group.role, &group.name, group.options).await {
                Ok(consumer) => break consumer,
                Err(error) => match retry.wait_or_fail(error).await {
                    Ok(()) => {}
                    Err(interrupted) => return interrupted.end().map(|()| None),
                },
            }
        };
        let retry =
            Retry::new(format!("cannot read topic {topic}"), backoff::READ, stop).counted(group.retries.clone());
        Ok(Some(Self { consumer, group: group.name.clone(), retry, retry_at: None, stop: stop.clone() }))
    }

    /// Marks messages as finished.
    pub fn finisher(&self) -> Arc<dyn Finisher> {
        self.consumer.finisher()
    }

    /// The next message or change of the assignment, with retries; `None` after `stop`. Cancel-safe.
    ///
    /// # Errors
    /// When the log refuses for good.
    pub async fn next(&mut self) -> anyhow::Result<Option<Incoming>> {
        loop {
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            let read = async {
                if let Some(at) = self.retry_at {
                    tokio::time::sleep_until(at).await;
                }
                self.consumer.next().await
            };
            // Reads first, so that registering with the token costs nothing while messages are ready.
            let read = tokio::select! {
                biased;
                read = read => read,
                () = self.stop.cancelled() => return Ok(None),
            };
            self.retry_at = None;
            match read {
                Ok(incoming) => {
                    self.retry.reset();
                    return Ok(Some(incoming));
                }
                Err(error) => match self.retry.pause_or_fail(error) {
                    Ok(pause) => self.retry_at = Some(Instant::now() + pause),
                    Err(Interrupted::Stop) => return Ok(None),
                    Err(Interrupted::Failure(error)) => return Err(error),
                },
            }
        }
    }

    /// Waits up to [`ConsumerOptions::drain`] until all delivered messages are finished, commits and leaves the group.
    ///
    /// # Errors
    /// When the last commit or leaving failed.
    pub async fn close(self) -> anyhow::Result<()> {
        let closed = self.consumer.close().await;
        closed.map_err(|error| anyhow::Error::new(error).context(format!("leaving consumer group {}", self.group)))
    }
}
