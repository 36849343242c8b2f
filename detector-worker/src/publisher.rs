//! What is known of frames in; results and dead letters on the log, and only then the frame finished.
//!
//! Handing over is pipelined: [`Publisher::hand_over`] returns as soon as the log's queue has the results, and the future it
//! returns ends when everything about the frame is acknowledged. What the log could not take for now comes back as
//! [`Ending::Again`], so that the caller, who knows the order, decides when it is sent once more. A result keeps its id over
//! all tries, so a repeat of the message is told from a repeat of the work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bus::{Acknowledged, BusError, Finisher, Producer};
use contracts::{Cause, DeadLetter, Event, FailureCode, Message, Origin, Outcome, TopicRole};
use futures::future::{BoxFuture, FutureExt, join_all};
use jiff::Timestamp;
use platform::retry::Backoff;

use crate::meters;
use crate::worker::Examined;

/// Puts results and dead letters on the log. Shared by all partitions.
pub struct Publisher {
    producer: Arc<dyn Producer>,
    finisher: Arc<dyn Finisher>,
    topic: String,
}

/// How a publication ended.
pub enum Ending {
    /// Everything is acknowledged, and the frame is finished.
    Finished,
    /// The log did not take all of it; these results are still to be sent.
    Again(Box<Examined>),
}

/// Ends when the log has answered about everything that was handed over.
pub type Publication = BoxFuture<'static, anyhow::Result<Ending>>;

impl Publisher {
    /// Publishes with these; `topic` is the name of the frames topic, which dead letters tell.
    pub fn new(producer: Arc<dyn Producer>, finisher: Arc<dyn Finisher>, topic: String) -> Self {
        Self { producer, finisher, topic }
    }

    /// Hands the frame's results to the log's queue, in their order, waiting while it is full.
    ///
    /// # Errors
    /// When the log refuses for good.
    pub async fn hand_over(self: &Arc<Self>, mut examined: Examined) -> anyhow::Result<Publication> {
        let begun = Instant::now();
        let mut acknowledgements = Vec::with_capacity(examined.results.len());
        for place in 0..examined.results.len() {
            acknowledgements.push(self.send_result(&mut examined, place).await?);
        }
        let publisher = self.clone();
        let publication = async move {
            let answers = join_all(acknowledgements).await;
            let unsent = unacknowledged(&mut examined, answers)?;
            if unsent {
                return Ok(Ending::Again(Box::new(examined)));
            }
            publisher.bury(&mut examined).await?;
            publisher.finisher.finished(examined.position);
            meters::stage("publish", begun.elapsed());
            Ok(Ending::Finished)
        };
        Ok(publication.boxed())
    }

    async fn send_result(&self, examined: &mut Examined, place: usize) -> anyhow::Result<Acknowledged> {
        let message = examined.results[place].to_message();
        match self.send(TopicRole::Results, message).await {
            Err(BusError::TooLarge { size, limit, .. }) => {
                let reason = format!("the result of {size} bytes is over the topic's limit of {limit} bytes");
                examined.dead.get_or_insert((FailureCode::Rejected.as_str().to_owned(), reason.clone()));
                examined.results[place].data.outcome = Outcome::Failed { code: FailureCode::Rejected, message: reason };
                let message = examined.results[place].to_message();
                self.send(TopicRole::Results, message).await.context("a result could not be sent")
            }
            sent => sent.context("a result could not be sent"),
        }
    }

    /// Hands a message over, waiting out what passes.
    async fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_secs(5));
        loop {
            match self.producer.send(role, message.clone()) {
                Err(error) if error.is_transient() => {
                    meters::retry("publish");
                    if !matches!(error, BusError::QueueFull) {
                        tracing::warn!(%error, topic = %role, "the log takes nothing for now");
                    }
                    tokio::time::sleep(backoff.pause()).await;
                }
                sent => return sent,
            }
        }
    }

    /// Puts the frame's dead letter on the log, if it is to have one, and waits until it is there.
    async fn bury(&self, examined: &mut Examined) -> anyhow::Result<()> {
        let Some((code, message)) = examined.dead.take() else { return Ok(()) };
        let (partition, offset) = (examined.position.partition, examined.position.offset);
        let id = examined.message.headers.text("ce_id");
        tracing::warn!(frame.id = id, partition, offset, cause = code, "a frame is dead-lettered: {message}");
        let letter = DeadLetter {
            cause: Cause { code, message },
            origin: Origin { topic: self.topic.clone(), partition, offset },
            at: Timestamp::now(),
            original: examined.message.clone(),
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
                    tracing::warn!(%error, "a dead letter was not acknowledged and is sent again");
                    meters::retry("publish");
                    tokio::time::sleep(backoff.pause()).await;
                }
                Err(error @ BusError::TooLarge { .. }) => {
                    // Its failed result is on the log; a message that never fits must not hold the partition for ever.
                    tracing::error!(%error, "a dead letter does not fit its topic and is dropped");
                    return Ok(());
                }
                Err(error) => return Err(error).context("a dead letter could not be sent"),
            }
        }
    }
}

/// Leaves in `examined` the results that were not acknowledged; whether there are any.
fn unacknowledged(examined: &mut Examined, answers: Vec<Result<bus::Position, BusError>>) -> anyhow::Result<bool> {
    let mut failed = Vec::new();
    for answer in answers {
        match answer {
            Ok(_) => failed.push(false),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "a result was not acknowledged and is sent again");
                meters::retry("publish");
                failed.push(true);
            }
            Err(error) => return Err(error).context("a result could not be sent"),
        }
    }
    let mut failed = failed.into_iter();
    examined.results.retain(|_| failed.next().unwrap_or(true));
    Ok(!examined.results.is_empty())
}
