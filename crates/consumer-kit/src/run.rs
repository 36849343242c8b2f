//! A complete consumer that handles one message at a time.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Bus, Delivery, Incoming};
use contracts::Cause;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::dead_letters::DeadLetterQueue;
use crate::group_reader::{Group, GroupReader};
use crate::retry::{Interrupted, Retry};
use crate::sender::Sender;

/// Handles the messages of a consumer.
#[async_trait]
pub trait Handler: Send {
    /// Handles one message. `Ok` means that its effects are durable. A message may be delivered
    /// again after a crash, so effects must be idempotent.
    async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandleError>;
}

/// Why a message was not handled.
#[derive(Debug)]
pub enum HandleError {
    /// It can never be handled: it becomes a dead letter with this cause.
    Permanent(Cause),
    /// It may be handled later: it is retried, in order, until the service stops.
    Transient(String),
}

impl HandleError {
    /// A permanent error with a stable code, such as `undecodable`.
    pub fn permanent(code: &str, message: &impl std::fmt::Display) -> Self {
        Self::Permanent(Cause { code: code.to_owned(), message: message.to_string() })
    }
}

/// Consumes a topic until `stop`: reads, handles and finishes one message after another.
///
/// # Errors
/// When the log refuses for good.
pub async fn run(
    bus: Arc<dyn Bus>,
    group: Group,
    mut handler: impl Handler,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Some(mut reader) = GroupReader::join(&*bus, &group, &stop).await? else { return Ok(()) };
    let finisher = reader.finisher();
    let sender = Sender::new(bus.producer(), stop.clone()).counted(group.retries.clone());
    let dead_letters = DeadLetterQueue::of(&*bus, group.role, sender);
    while let Some(incoming) = reader.next().await? {
        match incoming {
            Incoming::Delivery(delivery) => {
                match handle(&mut handler, &delivery, dead_letters.as_ref(), &group, &stop).await {
                    // Last: a crash above repeats the message instead of losing it.
                    Ok(()) => finisher.finished(delivery.position),
                    // Leaves without a drain, because waiting would not finish the message. It is delivered again.
                    Err(Interrupted::Stop) => return Ok(()),
                    Err(Interrupted::Failure(error)) => return Err(error),
                }
            }
            Incoming::Assigned(partitions) => tracing::info!(topic = %group.role, ?partitions, "partitions assigned"),
            Incoming::Revoked(partitions) => tracing::info!(topic = %group.role, ?partitions, "partitions revoked"),
            Incoming::Gap { partition, from, to } => tracing::error!(
                topic = %group.role,
                partition,
                from,
                to,
                "retention dropped messages before they were consumed; raise the topic's retention or add members"
            ),
        }
    }
    reader.close().await
}

async fn handle(
    handler: &mut impl Handler,
    delivery: &Delivery,
    dead_letters: Option<&DeadLetterQueue>,
    group: &Group,
    stop: &CancellationToken,
) -> Result<(), Interrupted> {
    let mut retry = Retry::new("a message cannot be handled", backoff::STORE, stop).counted(group.retries.clone());
    loop {
        match handler.handle(delivery).await {
            Ok(()) => return Ok(()),
            Err(HandleError::Transient(error)) => {
                tracing::warn!(error, topic = %group.role, "a message cannot be handled; trying again");
                retry.wait().await?;
            }
            Err(HandleError::Permanent(cause)) => {
                let Some(queue) = dead_letters else {
                    let (position, Cause { code, message }) = (delivery.position, cause);
                    tracing::error!(topic = %group.role, ?position, cause = code, error = message, "a message is skipped");
                    return Ok(());
                };
                return queue.send(&queue.letter(delivery.position, delivery.message.clone(), cause)).await;
            }
        }
    }
}
