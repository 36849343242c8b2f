//! Dead letters: lists them, and redrives them after their cause was fixed.
//!
//! In: a dead-letter topic. Out: its dead letters; or the originals, sent to their topic again. One consumer
//! group per topic stores the offset up to which dead letters were redriven, so a second redrive sends only new
//! ones. An offset is committed after the log has acknowledged the original: after a crash the original is sent
//! again, and every consumer tolerates duplicates.

pub mod admin;
pub mod command;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use bus::{Bus, Consumer, ConsumerOptions, Delivery, Incoming, RangeReader};
use contracts::{DeadLetter, TopicRole};
use serde::{Deserialize, Serialize};

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its position on the dead-letter topic, as `partition/offset`.
    pub position: String,
    /// Stable code of the cause.
    pub cause: String,
    /// The cause in words.
    pub message: String,
    /// Position of the original, as `topic/partition/offset`.
    pub origin: String,
    /// When it became a dead letter, RFC 3339.
    pub at: String,
    /// Id of the original event, where it has one.
    pub id: Option<String>,
    /// Size of the original's payload in bytes.
    pub bytes: usize,
}

/// Result of a redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// Number of originals sent again.
    pub sent: u64,
    /// Number of dead letters with another cause.
    pub left_out: u64,
    /// Number of records that are not dead letters.
    pub unreadable: u64,
}

/// Time limit for the next dead letter.
const NEXT_TIMEOUT: Duration = Duration::from_secs(30);

/// The group whose offsets say which dead letters of a topic were redriven.
pub fn group(role: TopicRole) -> String {
    format!("sightline.redrive.{role}")
}

/// Dead letters that were not redriven yet, oldest first, at most `limit`.
pub async fn list(bus: &dyn Bus, role: TopicRole, limit: usize) -> anyhow::Result<Vec<Letter>> {
    let mut letters = Vec::new();
    let mut waiting = waiting(bus, role).await?;
    while letters.len() < limit {
        let Some(delivery) = next(&mut waiting).await? else { break };
        letters.extend(DeadLetter::from_message(&delivery.message).ok().map(|letter| view(&delivery, &letter)));
    }
    Ok(letters)
}

/// Sends the originals of waiting dead letters again: all of them, or those with one cause.
pub async fn redrive(bus: &dyn Bus, role: TopicRole, cause: Option<&str>) -> anyhow::Result<Redriven> {
    let Some(origin) = TopicRole::ALL.into_iter().find(|origin| origin.dead_letters() == Some(role)) else {
        bail!("{role} is not a dead-letter topic");
    };
    let producer = bus.producer();
    let mut done = Redriven::default();
    let mut left = last_waiting(bus, role).await?;
    if left.is_empty() {
        return Ok(done);
    }
    let options = ConsumerOptions { drain: Duration::from_secs(5), ..ConsumerOptions::default() };
    let mut consumer = bus.consumer(role, &group(role), options).await?;
    while let Some(delivery) = next_of_group(&mut *consumer, &mut left).await? {
        match DeadLetter::from_message(&delivery.message) {
            Ok(letter) if cause.is_none_or(|cause| cause == letter.cause.code) => {
                producer
                    .send(origin, letter.original)?
                    .await
                    .context("the log did not accept the original; try again")?;
                done.sent += 1;
            }
            Ok(_) => done.left_out += 1,
            Err(_) => done.unreadable += 1,
        }
        consumer.finisher().finished(delivery.position);
    }
    consumer.close().await?;
    Ok(done)
}

fn view(delivery: &Delivery, letter: &DeadLetter) -> Letter {
    let origin = &letter.origin;
    Letter {
        position: format!("{}/{}", delivery.position.partition, delivery.position.offset),
        cause: letter.cause.code.clone(),
        message: letter.cause.message.clone(),
        origin: format!("{}/{}/{}", origin.topic, origin.partition, origin.offset),
        at: letter.at.to_string(),
        id: letter.original.headers.text("ce_id").map(str::to_owned),
        bytes: letter.original.value.len(),
    }
}

/// The position of the last waiting dead letter of each partition. They are found by reading: the offsets before the end of a topic may
/// have no message.
async fn last_waiting(bus: &dyn Bus, role: TopicRole) -> anyhow::Result<BTreeMap<i32, i64>> {
    let mut last = BTreeMap::new();
    let mut waiting = waiting(bus, role).await?;
    while let Some(Delivery { position, .. }) = next(&mut waiting).await? {
        last.insert(position.partition, position.offset);
    }
    Ok(last)
}

/// Reads the dead letters that were not redriven yet.
async fn waiting(bus: &dyn Bus, role: TopicRole) -> anyhow::Result<RangeReader> {
    let ranges = bus.unconsumed(role, &group(role)).await?;
    Ok(RangeReader::open(bus, role, &ranges).await?)
}

async fn next(waiting: &mut RangeReader) -> anyhow::Result<Option<Delivery>> {
    let next = tokio::time::timeout(NEXT_TIMEOUT, waiting.next()).await;
    Ok(next.context("no dead letter arrived; is the log reachable?")??)
}

/// The next dead letter of the group, while some before the last ones of `left` are not finished.
async fn next_of_group(consumer: &mut dyn Consumer, left: &mut BTreeMap<i32, i64>) -> anyhow::Result<Option<Delivery>> {
    while !left.is_empty() {
        let incoming = tokio::time::timeout(NEXT_TIMEOUT, consumer.next()).await;
        match incoming.context("no dead letter arrived; is another redrive running?")?? {
            Incoming::Delivery(delivery) => {
                let position = delivery.position;
                left.retain(|partition, last| *partition != position.partition || position.offset < *last);
                return Ok(Some(delivery));
            }
            Incoming::Gap { partition, to, .. } => left.retain(|other, last| *other != partition || to <= *last),
            Incoming::Assigned(_) | Incoming::Revoked(_) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
