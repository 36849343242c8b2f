//! Dead letters: looked at, and sent again once their cause is gone.
//!
//! In: a dead-letter topic. Out: what waits there; or the originals, sent to the topic they came from. One consumer group
//! per topic holds the place up to which letters were sent again, so a second redrive sends only what came since.
//! A letter is marked only after the log has its original: a crash sends again, and every reader downstream bears repeats.

pub mod admin;
pub mod command;

use std::time::Duration;

use anyhow::{Context, bail};
use bus::{Bus, Consumer, ConsumerOptions, Delivery, Incoming};
use contracts::{DeadLetter, TopicRole};
use serde::{Deserialize, Serialize};

/// A dead letter as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Where it stands on the dead-letter topic, as `partition/offset`.
    pub place: String,
    /// Stable code of the cause.
    pub cause: String,
    /// The cause in words.
    pub message: String,
    /// Where the original stood, as `topic/partition/offset`.
    pub origin: String,
    /// When it was given up, RFC 3339.
    pub at: String,
    /// Id of the original event, where it has one.
    pub id: Option<String>,
    /// Bytes of the original's payload.
    pub bytes: usize,
}

/// What a redrive did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// Originals sent again.
    pub sent: u64,
    /// Letters left out because of another cause.
    pub left_out: u64,
    /// Records that are no dead letters.
    pub unreadable: u64,
}

/// How long to wait for the next letter before the rest counts as out of reach.
const PATIENCE: Duration = Duration::from_secs(30);

/// Letters that were not sent again yet, oldest first, at most `limit`.
pub async fn list(bus: &dyn Bus, role: TopicRole, limit: usize) -> anyhow::Result<Vec<Letter>> {
    let mut letters = Vec::new();
    let mut waiting = Waiting::open(bus, role).await?;
    while letters.len() < limit {
        let Some(delivery) = waiting.next().await? else { break };
        letters.extend(DeadLetter::from_message(&delivery.message).ok().map(|letter| view(&delivery, &letter)));
    }
    Ok(letters)
}

/// Sends the originals of waiting letters again: all of them, or those of one cause.
pub async fn redrive(bus: &dyn Bus, role: TopicRole, cause: Option<&str>) -> anyhow::Result<Redriven> {
    let Some(target) = TopicRole::ALL.into_iter().find(|target| target.dead_letters() == Some(role)) else {
        bail!("{role} holds no dead letters");
    };
    let producer = bus.producer();
    let mut done = Redriven::default();
    let mut waiting = Waiting::open(bus, role).await?;
    while let Some(delivery) = waiting.next().await? {
        match DeadLetter::from_message(&delivery.message) {
            Ok(letter) if cause.is_none_or(|cause| cause == letter.cause.code) => {
                producer.send(target, letter.original)?.await.context("the original was not taken; try again")?;
                done.sent += 1;
            }
            Ok(_) => done.left_out += 1,
            Err(_) => done.unreadable += 1,
        }
        waiting.consumer.finisher().finished(delivery.position);
    }
    waiting.close().await?;
    Ok(done)
}

fn view(delivery: &Delivery, letter: &DeadLetter) -> Letter {
    let origin = &letter.origin;
    Letter {
        place: format!("{}/{}", delivery.position.partition, delivery.position.offset),
        cause: letter.cause.code.clone(),
        message: letter.cause.message.clone(),
        origin: format!("{}/{}/{}", origin.topic, origin.partition, origin.offset),
        at: letter.at.to_string(),
        id: letter.original.headers.text("ce_id").map(str::to_owned),
        bytes: letter.original.value.len(),
    }
}

/// The letters between the group's place and the end as it was at the beginning.
struct Waiting {
    consumer: Box<dyn Consumer>,
    /// Partition and the offset before which letters are waited for.
    ends: Vec<(i32, i64)>,
    nothing: bool,
}

impl Waiting {
    async fn open(bus: &dyn Bus, role: TopicRole) -> anyhow::Result<Self> {
        let group = format!("sightline.redrive.{role}");
        let ranges = bus.ranges(role).await?;
        let nothing = bus.oldest_unconsumed(role, &group).await?.is_none();
        // One letter at a time: what is listed and not sent stays unmarked.
        let options = ConsumerOptions { drain: Duration::from_secs(5), ..ConsumerOptions::default() };
        let consumer = bus.consumer(role, &group, options).await?;
        Ok(Self { consumer, ends: ranges.iter().map(|range| (range.partition, range.end)).collect(), nothing })
    }

    async fn next(&mut self) -> anyhow::Result<Option<Delivery>> {
        if self.nothing {
            return Ok(None);
        }
        loop {
            let incoming = tokio::time::timeout(PATIENCE, self.consumer.next()).await;
            match incoming.context("no dead letter came; is another redrive running?")?? {
                Incoming::Delivery(delivery) => {
                    let place = delivery.position;
                    let last = |&(partition, end): &(i32, i64)| partition == place.partition && place.offset + 1 >= end;
                    self.ends.retain(|end| !last(end));
                    // The last one of all partitions: nothing is waited for after it.
                    self.nothing = self.ends.iter().all(|(_, end)| *end == 0) || self.ends.is_empty();
                    return Ok(Some(delivery));
                }
                Incoming::Assigned(_) | Incoming::Revoked(_) | Incoming::Gap { .. } => {}
            }
        }
    }

    async fn close(self) -> anyhow::Result<()> {
        Ok(self.consumer.close().await?)
    }
}
