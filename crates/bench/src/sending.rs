//! Sends messages to a log as fast as it accepts them.

use anyhow::Context as _;
use bus::{BusError, Producer};
use contracts::{Message, TopicRole};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

/// Sends messages in order and waits for all acknowledgements; while the queue is full, waits for one.
pub async fn send_all(
    producer: &dyn Producer,
    role: TopicRole,
    messages: impl IntoIterator<Item = anyhow::Result<Message>>,
) -> anyhow::Result<()> {
    let mut unacknowledged = FuturesUnordered::new();
    for message in messages {
        let message = message?;
        loop {
            match producer.send(role, message.clone()) {
                Ok(acknowledged) => break unacknowledged.push(acknowledged),
                Err(BusError::QueueFull) => {
                    unacknowledged.next().await.transpose()?;
                }
                Err(error) => return Err(error).context("the log refuses a message"),
            }
        }
    }
    while unacknowledged.next().await.transpose()?.is_some() {}
    Ok(())
}
