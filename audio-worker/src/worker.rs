//! The loop: each task runs by itself, and its message is finished when its effect is stored.
//!
//! Backpressure is the log's limit on messages in flight: it delivers no more until earlier ones are finished.

mod book;
mod held;
mod passages;
mod plan;
mod publish;
mod steps;
mod summarise;
mod window;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Bus, ConsumerOptions, Delivery, Finisher, Incoming, Position};
use consumer_kit::{DeadLetterQueue, Group, GroupReader, Sender};
use contracts::{TopicRole, groups};
use metrics::counter;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::consumer::task_of;

pub use steps::{PLANS, Shutdown, Steps};

/// How long tasks go on after a stop. What is then not done goes back to the database, and the log waits for less than that.
const GRACE: Duration = Duration::from_secs(14);

/// Consumes tasks.
pub struct Worker {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// Limits on tasks in flight.
    pub options: ConsumerOptions,
    /// Does the work.
    pub steps: Arc<Steps>,
    /// Ends it.
    pub stop: CancellationToken,
}

/// The position of a task that ended; `None` if its message is to be delivered again.
type Ended = Option<Position>;

impl Worker {
    /// Works until `stop`, then finishes the tasks in flight or gives them back.
    ///
    /// # Errors
    /// The log refuses for good. Nothing is lost: unfinished tasks are delivered again.
    pub async fn run(self) -> anyhow::Result<()> {
        let group = Group {
            role: TopicRole::MediaTasks,
            name: groups::AUDIO_WORKER.to_owned(),
            options: self.options,
            retries: counter!("sightline_audio_retries_total", "operation" => "consume"),
        };
        let Some(mut reader) = GroupReader::join(&*self.bus, &group, &self.stop).await? else { return Ok(()) };
        let finisher = reader.finisher();
        let sender = Sender::new(self.bus.producer(), self.stop.clone());
        let dead_letters = DeadLetterQueue::of(&*self.bus, TopicRole::MediaTasks, sender)
            .context("the topic of tasks has no dead-letter topic")?;
        let mut tasks = JoinSet::new();
        loop {
            let incoming = tokio::select! {
                biased;
                Some(ended) = tasks.join_next() => {
                    finish(ended, &*finisher)?;
                    continue;
                }
                incoming = reader.next() => incoming?,
            };
            match incoming {
                Some(Incoming::Delivery(delivery)) => {
                    self.begin(delivery, &mut tasks, &dead_letters, &*finisher).await?;
                }
                Some(Incoming::Assigned(partitions)) => tracing::info!(?partitions, "partitions assigned"),
                Some(Incoming::Revoked(partitions)) => tracing::info!(?partitions, "partitions revoked"),
                Some(Incoming::Gap { partition, from, to }) => {
                    // What they named is due in the database, and is published again.
                    tracing::warn!(partition, from, to, "tasks were dropped by retention before they were read");
                }
                None => break,
            }
        }
        self.close(reader, tasks, &*finisher).await
    }

    async fn begin(
        &self,
        delivery: Delivery,
        tasks: &mut JoinSet<Ended>,
        dead_letters: &DeadLetterQueue,
        finisher: &dyn Finisher,
    ) -> anyhow::Result<()> {
        let position = delivery.position;
        match task_of(&delivery) {
            Ok((task, traceparent)) => {
                let steps = Arc::clone(&self.steps);
                tasks.spawn(async move { steps.run(task, traceparent.as_deref()).await.then_some(position) });
                Ok(())
            }
            Err(cause) => {
                counter!("sightline_audio_dead_letters_total", "cause" => cause.code.clone()).increment(1);
                let letter = dead_letters.letter(position, delivery.message, cause);
                if let Err(interrupted) = dead_letters.send(&letter).await {
                    return interrupted.end();
                }
                finisher.finished(position);
                Ok(())
            }
        }
    }

    /// Finishes the tasks in flight while the log waits, commits and leaves the consumer group.
    async fn close(
        self,
        reader: GroupReader,
        mut tasks: JoinSet<Ended>,
        finisher: &dyn Finisher,
    ) -> anyhow::Result<()> {
        let closing = reader.close();
        tokio::pin!(closing);
        let grace = tokio::time::sleep(GRACE);
        tokio::pin!(grace);
        loop {
            tokio::select! {
                closed = &mut closing => return closed,
                Some(ended) = tasks.join_next() => finish(ended, finisher)?,
                () = &mut grace, if !self.steps.gives_up() => self.steps.give_up(),
            }
        }
    }
}

fn finish(ended: Result<Ended, JoinError>, finisher: &dyn Finisher) -> anyhow::Result<()> {
    // The offset is committed last: a crash before repeats the task, and finds its effect.
    if let Some(position) = ended.context("a task of a book ended")? {
        finisher.finished(position);
    }
    Ok(())
}
