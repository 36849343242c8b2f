//! Sends messages, with retries.
//!
//! [`Sender::begin`] puts a message into the producer's queue and returns at once;
//! [`Sender::await_acks`] waits for the acknowledgements and sends failed messages again. The
//! caller may do other work between the two calls.

use std::sync::Arc;

use bus::{Acknowledged, BusError, Producer};
use contracts::{Message, TopicRole};
use futures::{StreamExt, stream};
use metrics::Counter;
use platform::traces::Span;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::retry::{Interrupted, Retry};

/// Maximum number of acknowledgements that are awaited concurrently.
const AWAITED_AT_ONCE: usize = 1_000;

/// A producer that retries transient errors until `stop`.
#[derive(Clone)]
pub struct Sender {
    producer: Arc<dyn Producer>,
    retries: Counter,
    stop: CancellationToken,
}

/// A message in the producer's queue, or refused by it.
pub struct PendingSend {
    role: TopicRole,
    message: Message,
    queued: Result<Acknowledged, BusError>,
    /// Ends with the acknowledgement.
    span: Span,
}

impl PendingSend {
    /// Ends this span when the message is acknowledged.
    #[must_use]
    pub fn traced(self, span: Span) -> Self {
        Self { span, ..self }
    }
}

/// A message that exceeds its topic's `max_message_bytes`. No retry can send it.
#[derive(Debug)]
pub struct TooLarge {
    /// Its topic.
    pub role: TopicRole,
    /// The message.
    pub message: Message,
    /// The error with size and limit.
    pub error: BusError,
}

impl Sender {
    /// Sends through `producer` and retries until `stop`.
    pub fn new(producer: Arc<dyn Producer>, stop: CancellationToken) -> Self {
        Self { producer, retries: Counter::noop(), stop }
    }

    /// Counts every retry.
    #[must_use]
    pub fn counted(mut self, retries: Counter) -> Self {
        self.retries = retries;
        self
    }

    /// Puts a message into the producer's queue. An error is kept for [`await_acks`](Self::await_acks).
    pub fn begin(&self, role: TopicRole, message: Message) -> PendingSend {
        let queued = self.producer.send(role, message.clone());
        PendingSend { role, message, queued, span: Span::none() }
    }

    /// Waits for the acknowledgements of all these messages. Returns those that exceed their topic's limit.
    ///
    /// # Errors
    /// When the log refuses for good, or the service stops while the log is unreachable.
    pub async fn await_acks(&self, pending: Vec<PendingSend>) -> Result<Vec<TooLarge>, Interrupted> {
        let mut acknowledged =
            stream::iter(pending.into_iter().map(|send| self.await_ack(send))).buffered(AWAITED_AT_ONCE);
        let mut too_large = Vec::new();
        while let Some(outcome) = acknowledged.next().await {
            too_large.extend(outcome?);
        }
        Ok(too_large)
    }

    /// Sends a message and waits for its acknowledgement; returns it if it exceeds its topic's limit.
    ///
    /// # Errors
    /// As [`await_acks`](Self::await_acks).
    pub async fn send(&self, role: TopicRole, message: Message) -> Result<Option<TooLarge>, Interrupted> {
        self.await_ack(self.begin(role, message)).await
    }

    /// Puts a message into the producer's queue, and waits while the queue is full. The caller awaits the acknowledgement.
    ///
    /// # Errors
    /// `Ok(Err(TooLarge))` if the message exceeds its topic's limit; else as [`await_acks`](Self::await_acks).
    pub async fn queue(
        &self,
        role: TopicRole,
        message: Message,
    ) -> Result<Result<Acknowledged, TooLarge>, Interrupted> {
        let mut retry = self.retry(role);
        loop {
            match self.producer.send(role, message.clone()) {
                Ok(acknowledged) => return Ok(Ok(acknowledged)),
                Err(error @ BusError::TooLarge { .. }) => return Ok(Err(TooLarge { role, message, error })),
                Err(error) => retry.wait_or_fail(error).await?,
            }
        }
    }

    /// If an acknowledgement was lost, the retry puts the message on the log twice. Consumers drop the duplicate by its id.
    async fn await_ack(&self, pending: PendingSend) -> Result<Option<TooLarge>, Interrupted> {
        let PendingSend { role, message, mut queued, mut span } = pending;
        let mut retry = self.retry(role);
        loop {
            let acknowledged = match queued {
                Ok(acknowledged) => acknowledged.await,
                Err(error) => Err(error),
            };
            match acknowledged {
                Ok(_) => return Ok(None),
                Err(error @ BusError::TooLarge { .. }) => {
                    span.fail("too_large");
                    return Ok(Some(TooLarge { role, message, error }));
                }
                Err(error) => retry.wait_or_fail(error).await?,
            }
            queued = self.producer.send(role, message.clone());
        }
    }

    fn retry(&self, role: TopicRole) -> Retry {
        Retry::new(format!("cannot send to {role}"), backoff::SEND, &self.stop).counted(self.retries.clone())
    }
}
