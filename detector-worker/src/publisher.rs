//! Publishes the results and the dead letter of a frame, and then marks the frame as finished.
//!
//! Publishing is pipelined: [`Publisher::publish`] returns as soon as the producer's queue has the
//! results, and the future that it returns resolves when all results of the frame are acknowledged.
//! Results that the bus did not acknowledge are returned as [`Published::Retry`], because only the
//! caller knows the order of the partition. A result keeps its id on every retry, so a consumer can
//! distinguish a repeated message from repeated work.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bus::{Acknowledged, Bus, BusError, Finisher, Position};
use consumer_kit::{DeadLetterQueue, Interrupted, Sender, TooLarge};
use contracts::{Cause, Event, FailureCode, FrameId, Message, Outcome, ResultEvent, TopicRole};
use futures::future::{BoxFuture, FutureExt, join_all};
use platform::traces::Span;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// The results and the dead letter of one message.
pub struct ProcessedFrame {
    /// Partition and offset of the message.
    pub position: Position,
    /// One result per requested detector; empty when the message is not a frame.
    pub results: Vec<ResultEvent>,
    /// Set when the message goes to the dead-letter topic: code and message of the cause.
    pub dead_letter: Option<(String, String)>,
    /// The message as received.
    pub message: Message,
    /// They end when the frame is finished.
    pub spans: FrameSpans,
}

/// The span of a frame and those of its results that are sent; empty without traces.
#[derive(Debug, Default)]
pub struct FrameSpans {
    process: Span,
    send: Vec<Span>,
}

impl FrameSpans {
    /// The span of a frame, without results.
    pub const fn of(process: Span) -> Self {
        Self { process, send: Vec::new() }
    }

    /// Starts the span of a result that is sent. Returns the `traceparent` of its message; `None` without traces.
    pub fn send_result(&mut self, frame: FrameId) -> Option<String> {
        let mut span = self.process.producer("send results");
        span.set_id("frame.id", frame);
        let traceparent = span.traceparent()?;
        self.send.push(span);
        Some(traceparent)
    }
}

/// Publishes results and dead letters. All partitions share one.
pub struct Publisher {
    sender: Sender,
    finisher: Arc<dyn Finisher>,
    dead_letters: DeadLetterQueue,
}

/// Outcome of publishing a frame.
pub enum Published {
    /// All results are acknowledged, and the frame is finished.
    Finished,
    /// The bus did not acknowledge these results; the caller publishes them again.
    Retry(Box<ProcessedFrame>),
}

/// Resolves when the bus has acknowledged or refused everything that was sent.
pub type PendingPublish = BoxFuture<'static, anyhow::Result<Published>>;

impl Publisher {
    /// Publishes on `bus` and marks frames as finished.
    ///
    /// # Errors
    /// When the frames topic has no dead-letter topic.
    pub fn new(bus: &dyn Bus, finisher: Arc<dyn Finisher>) -> anyhow::Result<Self> {
        // Retries continue during a stop: the bus waits for unfinished frames up to its drain time.
        let sender = Sender::new(bus.producer(), CancellationToken::new()).counted(metrics::retries("publish"));
        let dead_letters = DeadLetterQueue::of(bus, TopicRole::Frames, sender.clone())
            .context("the frames topic has no dead-letter topic")?;
        Ok(Self { sender, finisher, dead_letters })
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
            let acknowledgements = join_all(acknowledgements).await;
            let retry = retain_unacknowledged(&mut frame, acknowledgements)?;
            if retry {
                return Ok(Published::Retry(Box::new(frame)));
            }
            frame.spans.send.clear();
            publisher.send_dead_letter(&mut frame).await?;
            publisher.finisher.finished(frame.position);
            metrics::stage("publish", started.elapsed());
            Ok(Published::Finished)
        };
        Ok(pending.boxed())
    }

    /// A result that is too large for its topic is replaced by a failed one.
    async fn send_result(&self, frame: &mut ProcessedFrame, index: usize) -> anyhow::Result<Acknowledged> {
        let too_large = match self.queue(&frame.results[index]).await? {
            Ok(acknowledged) => return Ok(acknowledged),
            Err(too_large) => too_large,
        };
        let reason = format!("the result does not fit its topic: {}", too_large.error);
        frame.dead_letter.get_or_insert((FailureCode::Rejected.as_str().to_owned(), reason.clone()));
        frame.results[index].data.outcome = Outcome::Failed { code: FailureCode::Rejected, message: reason };
        let queued = self.queue(&frame.results[index]).await?;
        queued.map_err(|too_large| too_large.error).context("a result could not be sent")
    }

    async fn queue(&self, result: &ResultEvent) -> anyhow::Result<Result<Acknowledged, TooLarge>> {
        let queued = self.sender.queue(TopicRole::Results, result.to_message()).await;
        queued.map_err(Interrupted::into_error).context("a result could not be sent")
    }

    /// Sends the frame's dead letter, if it has one, and waits for the acknowledgement.
    async fn send_dead_letter(&self, frame: &mut ProcessedFrame) -> anyhow::Result<()> {
        let Some((code, message)) = frame.dead_letter.take() else { return Ok(()) };
        let letter = self.dead_letters.letter(frame.position, frame.message.clone(), Cause { code, message });
        let sent = self.dead_letters.send(&letter).await;
        sent.map_err(Interrupted::into_error).context("a dead letter could not be sent")
    }
}

/// Retains the results that were not acknowledged. Returns whether there are any.
fn retain_unacknowledged(
    frame: &mut ProcessedFrame,
    acknowledgements: Vec<Result<Position, BusError>>,
) -> anyhow::Result<bool> {
    let mut failed = Vec::new();
    for response in acknowledgements {
        match response {
            Ok(_) => failed.push(false),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "a result was not acknowledged; retrying");
                metrics::retry("publish");
                failed.push(true);
            }
            Err(error) => return Err(error).context("a result could not be sent"),
        }
    }
    let mut failed = failed.into_iter();
    frame.results.retain(|_| failed.next().unwrap_or(true));
    Ok(!frame.results.is_empty())
}
