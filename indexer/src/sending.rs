//! Messages out, until the log has them: handed over at once, seen to later.
//!
//! [`Sending::begin`] puts a message into the log's queue and comes back with what the log will say of it;
//! [`Sending::settle`] waits for that, and sends again what was not taken. Between the two the caller may do something else.

use std::sync::Arc;
use std::time::Duration;

use bus::{Acknowledged, BusError, Producer};
use contracts::{Message, TopicRole};
use futures::{StreamExt, stream};
use metrics::counter;
use platform::retry::Backoff;
use tokio_util::sync::CancellationToken;

/// Most messages that are waited for at once.
const AT_ONCE: usize = 1_000;

/// Why work was left unfinished.
pub enum Interrupted {
    /// The stop came while store or log was out of reach. Nothing was finished: the work will be done again.
    Stop,
    /// Store or log refused for good.
    Failure(anyhow::Error),
}

/// The way to the log.
#[derive(Clone)]
pub struct Sending {
    producer: Arc<dyn Producer>,
    stop: CancellationToken,
}

/// A message on its way.
pub struct Sent {
    role: TopicRole,
    message: Message,
    answer: Result<Acknowledged, BusError>,
}

impl Sending {
    /// Sends, and tries again what may pass, until `stop`.
    pub fn new(producer: Arc<dyn Producer>, stop: CancellationToken) -> Self {
        Self { producer, stop }
    }

    /// Hands a message to the log's queue. What the queue says is for [`Self::settle`] to hear.
    pub fn begin(&self, role: TopicRole, message: Message) -> Sent {
        let answer = self.producer.send(role, message.clone());
        Sent { role, message, answer }
    }

    /// Waits until the log has all of these.
    pub async fn settle(&self, all: Vec<Sent>) -> Result<(), Interrupted> {
        let mut settling = stream::iter(all.into_iter().map(|sent| self.settle_one(sent))).buffered(AT_ONCE);
        while let Some(settled) = settling.next().await {
            settled?;
        }
        Ok(())
    }

    /// Sends a message until the log has it. A second try after an unclear first may put it there twice: readers drop the
    /// repeat by its id.
    async fn settle_one(&self, sent: Sent) -> Result<(), Interrupted> {
        let Sent { role, message, mut answer } = sent;
        let mut pauses = pauses();
        loop {
            let settled = match answer {
                Ok(acknowledged) => acknowledged.await.map(drop),
                Err(error) => Err(error),
            };
            match settled {
                Ok(()) => return Ok(()),
                Err(error @ BusError::TooLarge { .. }) => {
                    // Nothing that fits on `results` gets here, unless the topics' limits were set apart by hand.
                    counter!("sightline_indexer_unsendable_total", "topic" => role.as_str()).increment(1);
                    let origin = message.headers.text("ce_id").unwrap_or_default();
                    tracing::error!(%error, event.id = origin, "a message is given up; raise the topic's max_message_bytes");
                    return Ok(());
                }
                Err(error) => {
                    self.wait_or_fail(error, "the log does not take messages", &mut pauses).await?;
                }
            }
            answer = self.producer.send(role, message.clone());
        }
    }

    /// Waits before the next try, where one may help.
    pub async fn wait_or_fail(
        &self,
        error: BusError,
        what: &'static str,
        pauses: &mut Backoff,
    ) -> Result<(), Interrupted> {
        if !error.is_transient() {
            return Err(failure(error, what));
        }
        tracing::warn!(%error, "{what}; trying again");
        self.wait(pauses).await
    }

    /// Waits before the next try, unless the stop comes.
    pub async fn wait(&self, pauses: &mut Backoff) -> Result<(), Interrupted> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Interrupted::Stop),
            () = tokio::time::sleep(pauses.pause()) => Ok(()),
        }
    }
}

/// Pauses between tries of one thing.
pub const fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(5))
}

/// What can never be done.
pub fn failure(error: impl Into<anyhow::Error>, what: &'static str) -> Interrupted {
    Interrupted::Failure(error.into().context(what))
}
