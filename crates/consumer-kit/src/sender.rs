//! Sends messages until the log has them.
//!
//! [`Sender::begin`] puts a message into the producer's queue and returns at once; [`Sender::settle`] waits for the
//! acknowledgements and sends again what was not taken. The caller may do something else between the two.

use std::sync::Arc;

use bus::{Acknowledged, BusError, Producer};
use contracts::{Message, TopicRole};
use futures::{StreamExt, stream};
use metrics::Counter;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::retry::{Interrupted, Retry};

/// Most acknowledgements awaited at once.
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
}

/// A message that exceeds its topic's `max_message_bytes`. No retry can send it.
#[derive(Debug)]
pub struct TooLarge {
    /// The topic it was for.
    pub role: TopicRole,
    /// The message.
    pub message: Message,
    /// The refusal, with size and limit.
    pub error: BusError,
}

impl Sender {
    /// Sends through `producer` and retries until `stop`.
    pub fn new(producer: Arc<dyn Producer>, stop: CancellationToken) -> Self {
        Self { producer, retries: Counter::noop(), stop }
    }

    /// The same, with every retry counted.
    #[must_use]
    pub fn counted(mut self, retries: Counter) -> Self {
        self.retries = retries;
        self
    }

    /// Puts a message into the producer's queue. An error is kept for [`settle`](Self::settle).
    pub fn begin(&self, role: TopicRole, message: Message) -> PendingSend {
        let queued = self.producer.send(role, message.clone());
        PendingSend { role, message, queued }
    }

    /// Waits until the log has all of these. Returns those that exceed their topic's limit.
    ///
    /// # Errors
    /// When the log refuses for good, or the service stops while the log is out of reach.
    pub async fn settle(&self, pending: Vec<PendingSend>) -> Result<Vec<TooLarge>, Interrupted> {
        let mut settled = stream::iter(pending.into_iter().map(|send| self.settle_one(send))).buffered(AWAITED_AT_ONCE);
        let mut too_large = Vec::new();
        while let Some(outcome) = settled.next().await {
            too_large.extend(outcome?);
        }
        Ok(too_large)
    }

    /// Sends a message and waits until the log has it; returns it where it exceeds its topic's limit.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub async fn send(&self, role: TopicRole, message: Message) -> Result<Option<TooLarge>, Interrupted> {
        self.settle_one(self.begin(role, message)).await
    }

    /// Puts a message into the producer's queue and waits while the queue is full. The acknowledgement is the caller's.
    ///
    /// # Errors
    /// `Ok(Err(TooLarge))` where the message exceeds its topic's limit; else as [`settle`](Self::settle).
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

    /// A second try after an unclear first one may put the message on the log twice: readers drop the repeat by its id.
    async fn settle_one(&self, pending: PendingSend) -> Result<Option<TooLarge>, Interrupted> {
        let PendingSend { role, message, mut queued } = pending;
        let mut retry = self.retry(role);
        loop {
            let acknowledged = match queued {
                Ok(acknowledged) => acknowledged.await,
                Err(error) => Err(error),
            };
            match acknowledged {
                Ok(_) => return Ok(None),
                Err(error @ BusError::TooLarge { .. }) => return Ok(Some(TooLarge { role, message, error })),
                Err(error) => retry.wait_or_fail(error).await?,
            }
            queued = self.producer.send(role, message.clone());
        }
    }

    fn retry(&self, role: TopicRole) -> Retry {
        Retry::new(format!("cannot send to {role}"), backoff::SEND, &self.stop).counted(self.retries.clone())
    }
}
