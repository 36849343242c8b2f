//! Publishes the results and the dead letter of a frame, and then marks the frame as finished.
//!
//! Publishing is pipelined: [`Publisher::publish`] returns as soon as the producer's queue has the results, and the future
//! that it returns resolves when everything about the frame is acknowledged. Results that the bus did not acknowledge come
//! back as [`Published::Retry`], because only the caller knows the order of the partition. A result keeps its id on every
//! retry, so a consumer can tell a repeated message from repeated work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bus::{Acknowledged, BusError, Finisher, Position, Producer};
use contracts::{Cause, DeadLetter, Event, FailureCode, Message, Origin, Outcome, ResultEvent, TopicRole};
use futures::future::{BoxFuture, FutureExt, join_all};
use jiff::Timestamp;
use platform::retry::Backoff;

use crate::meters;

/// Everything that is published about one message.
pub struct ProcessedFrame {
    /// Partition and offset of the message.
    pub position: Position,
    /// One result per requested detector; empty when the message is not a frame.
    pub results: Vec<ResultEvent>,
    /// Set when the message goes to the dead-letter topic: code and message of the cause.
    pub dead_letter: Option<(String, String)>,
    /// The message as received.
    pub message: Message,
}

/// Publishes results and dead letters. All partitions share one.
pub struct Publisher {
    producer: Arc<dyn Producer>,
    finisher: Arc<dyn Finisher>,
    frames_topic: String,
}

/// How publishing a frame ended.
pub enum Published {
    /// Everything is acknowledged, and the frame is finished.
    Finished,
    /// The bus did not acknowledge these results; the caller publishes them again.
    Retry(Box<ProcessedFrame>),
}

/// Resolves when the bus has answered about everything that was sent.
pub type PendingPublish = BoxFuture<'static, anyhow::Result<Published>>;

impl Publisher {
    /// `frames_topic` is the topic's name, which dead letters carry as their origin.
    pub fn new(producer: Arc<dyn Producer>, finisher: Arc<dyn Finisher>, frames_topic: String) -> Self {
        Self { producer, finisher, frames_topic }
    }

    /// Sends the frame's results to the producer in their order. Waits while its queue is full.
    ///
    /// # Errors
    /// The bus refuses for good.
    pub async fn publish(self: &Arc<Self>, mut frame: ProcessedFrame) -> anyhow::Result<PendingPublish> {
        let started = Instant::now();
        let mut acknowledgements = Vec::with_capacity(frame.results.len());
        for index in 0..frame.results.len() {
            acknowledgements.push(self.send_result(&mut frame, index).await?);
        }
        let publisher = self.clone();
        let pending = async move {
            let answers = join_all(acknowledgements).await;
            let retry = retain_unacknowledged(&mut frame, answers)?;
            if retry {
                return Ok(Published::Retry(Box::new(frame)));
            }
            publisher.send_dead_letter(&mut frame).await?;
            publisher.finisher.finished(frame.position);
            meters::stage("publish", started.elapsed());
            Ok(Published::Finished)
        };
        Ok(pending.boxed())
    }

    async fn send_result(&self, frame: &mut ProcessedFrame, index: usize) -> anyhow::Result<Acknowledged> {
        let message = frame.results[index].to_message();
        match self.send(TopicRole::Results, message).await {
            Err(BusError::TooLarge { size, limit, .. }) => {
                let reason = format!("the result of {size} bytes is over the topic's limit of {limit} bytes");
                frame.dead_letter.get_or_insert((FailureCode::Rejected.as_str().to_owned(), reason.clone()));
                frame.results[index].data.outcome = Outcome::Failed { code: FailureCode::Rejected, message: reason };
                let message = frame.results[index].to_message();
                self.send(TopicRole::Results, message).await.context("a result could not be sent")
            }
            sent => sent.context("a result could not be sent"),
        }
    }

    /// Passes a message to the producer and retries transient errors.
    async fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_secs(5));
        loop {
            match self.producer.send(role, message.clone()) {
                Err(error) if error.is_transient() => {
                    meters::retry("publish");
                    if !matches!(error, BusError::QueueFull) {
                        tracing::warn!(%error, topic = %role, "the bus takes no message; retrying");
                    }
                    tokio::time::sleep(backoff.pause()).await;
                }
                sent => return sent,
            }
        }
    }

    /// Sends the frame's dead letter, if there is one, and waits for the acknowledgement.
    async fn send_dead_letter(&self, frame: &mut ProcessedFrame) -> anyhow::Result<()> {
        let Some((code, message)) = frame.dead_letter.take() else { return Ok(()) };
        let (partition, offset) = (frame.position.partition, frame.position.offset);
        let id = frame.message.headers.text("ce_id");
        tracing::warn!(frame.id = id, partition, offset, cause = code, "a frame is dead-lettered: {message}");
        let letter = DeadLetter {
            cause: Cause { code, message },
            origin: Origin { topic: self.frames_topic.clone(), partition, offset },
            at: Timestamp::now(),
            original: frame.message.clone(),
        };
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(15));
        loop {
            let sent = match self.send(TopicRole::FramesDlq, letter.to_message()).await {
                Ok(acknowledged) => acknowledged.await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(_) => return Ok(()),
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "a dead letter was not acknowledged; retrying");
                    meters::retry("publish");
                    tokio::time::sleep(backoff.pause()).await;
                }
                Err(error @ BusError::TooLarge { .. }) => {
                    // The failed result is published; a message that never fits must not block its partition for ever.
                    tracing::error!(%error, "a dead letter does not fit its topic and is dropped");
                    return Ok(());
                }
                Err(error) => return Err(error).context("a dead letter could not be sent"),
            }
        }
    }
}

/// Retains the results that were not acknowledged. Returns whether there are any.
fn retain_unacknowledged(
    frame: &mut ProcessedFrame,
    answers: Vec<Result<Position, BusError>>,
) -> anyhow::Result<bool> {
    let mut failed = Vec::new();
    for answer in answers {
        match answer {
            Ok(_) => failed.push(false),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "a result was not acknowledged; retrying");
                meters::retry("publish");
                failed.push(true);
            }
            Err(error) => return Err(error).context("a result could not be sent"),
        }
    }
    let mut failed = failed.into_iter();
    frame.results.retain(|_| failed.next().unwrap_or(true));
    Ok(!frame.results.is_empty())
}
