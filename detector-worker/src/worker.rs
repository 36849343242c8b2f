//! The loop: what the log delivers goes to its partition's lane; lanes come and go with their partitions.
//!
//! Backpressure is the bus's limit on frames in hand: it delivers no more than that many, or bytes of them, before earlier
//! ones are finished, so no queue in here can grow beyond it.

mod examine;
mod lane;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::{Bus, BusError, Consumer, ConsumerOptions, Finisher, Incoming};
use contracts::TopicRole;
use platform::retry::Backoff;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::consumer::{Intake, Work};
use crate::meters;
use crate::publisher::Publisher;

pub use examine::{Examined, Examiner};
use lane::Lane;

/// Reads frames for a set of detectors.
pub struct Worker {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// The group of this set of detectors.
    pub group: String,
    /// How much is in hand at most.
    pub options: ConsumerOptions,
    /// Reads messages.
    pub intake: Intake,
    /// Examines frames.
    pub examiner: Arc<Examiner>,
}

/// The partitions that are worked on, each by a task.
struct Lanes {
    examiner: Arc<Examiner>,
    publisher: Arc<Publisher>,
    width: usize,
    open: HashMap<i32, mpsc::Sender<Work>>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Worker {
    /// Frames in, results out, until `stop`; then what is in hand is finished and committed.
    ///
    /// # Errors
    /// When the worker cannot go on. Nothing is lost: what is not finished is delivered again after the next start.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let topic = self.bus.topic(TopicRole::Frames).to_owned();
        let Some(mut consumer) = self.join(&stop).await.with_context(|| format!("cannot consume {topic}"))? else {
            return Ok(());
        };
        let finisher = consumer.finisher();
        let publisher = Arc::new(Publisher::new(self.bus.producer(), finisher.clone(), topic));
        let mut lanes = Lanes::new(self.examiner, publisher, self.options.max_in_flight);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(15));
        loop {
            let incoming = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = lanes.tasks.join_next() => {
                    ended.context("a partition's task ended")??;
                    continue;
                }
                incoming = consumer.next() => incoming,
            };
            match incoming {
                Ok(incoming) => {
                    backoff.reset();
                    route(incoming, &self.intake, &*finisher, &mut lanes).await;
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "the log delivers nothing for now");
                    meters::retry("consume");
                    tokio::time::sleep(backoff.pause()).await;
                }
                Err(error) => return Err(error).context("the log delivers no more frames"),
            }
        }
        lanes.finish(consumer).await
    }

    /// Joins the group, waiting out what passes, such as a full disk; nothing where the stop comes first.
    async fn join(&self, stop: &CancellationToken) -> Result<Option<Box<dyn Consumer>>, BusError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.bus.consumer(TopicRole::Frames, &self.group, self.options).await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "the group of workers cannot be joined; trying again");
                    meters::retry("consume");
                }
                joined => return joined.map(Some),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(backoff.pause()) => {}
            }
        }
    }
}

async fn route(incoming: Incoming, intake: &Intake, finisher: &dyn Finisher, lanes: &mut Lanes) {
    match incoming {
        Incoming::Delivery(delivery) => {
            let position = delivery.position;
            match intake.read(delivery) {
                Some(work) => lanes.give(work).await,
                None => {
                    meters::frame("skipped");
                    finisher.finished(position);
                }
            }
        }
        Incoming::Assigned(partitions) => tracing::info!(?partitions, "partitions assigned"),
        Incoming::Revoked(partitions) => {
            tracing::info!(?partitions, "partitions taken away; finishing what is in hand");
            lanes.close(&partitions);
        }
        Incoming::Gap { partition, from, to } => {
            tracing::error!(partition, from, to, "frames were dropped by retention before they were processed");
            meters::lost(to - from);
        }
    }
}

impl Lanes {
    fn new(examiner: Arc<Examiner>, publisher: Arc<Publisher>, width: usize) -> Self {
        Self { examiner, publisher, width, open: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Gives work to its partition's lane, opening one where there is none.
    async fn give(&mut self, work: Work) {
        let partition = work.position.partition;
        if !self.open.contains_key(&partition) {
            let (sender, frames) = mpsc::channel(self.width);
            let lane = Lane { examiner: self.examiner.clone(), publisher: self.publisher.clone(), width: self.width };
            self.tasks.spawn(lane.run(frames));
            self.open.insert(partition, sender);
        }
        if let Some(lane) = self.open.get(&partition) {
            // A lane that takes nothing more has failed; its task says how, and ends the worker.
            drop(lane.send(work).await);
        }
    }

    /// No more comes for these partitions; their lanes end with what they have.
    fn close(&mut self, partitions: &[i32]) {
        self.open.retain(|partition, _| !partitions.contains(partition));
    }

    /// Finishes what is in hand, as long as the bus waits for it, commits and leaves.
    async fn finish(mut self, consumer: Box<dyn Consumer>) -> anyhow::Result<()> {
        self.open.clear();
        let closing = consumer.close();
        tokio::pin!(closing);
        loop {
            tokio::select! {
                closed = &mut closing => return closed.context("the last commit failed"),
                Some(ended) = self.tasks.join_next() => ended.context("a partition's task ended")??,
            }
        }
    }
}
