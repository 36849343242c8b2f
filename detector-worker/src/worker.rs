//! The consumer loop: each delivery goes to the task of its partition; tasks start and end with their partitions.
//!
//! Backpressure is the bus's limit on frames and bytes in flight: it delivers no more until earlier frames are finished, so
//! no queue here can grow beyond that limit.

mod partition;
mod processor;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use bus::{Bus, ConsumerOptions, Finisher, Incoming};
use consumer_kit::{Group, GroupReader};
use contracts::TopicRole;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::consumer::{FrameParser, FrameTask};
use crate::metrics;
use crate::publisher::Publisher;

use partition::PartitionTask;
pub use processor::{FrameProcessor, KeptImages};

/// Consumes frames for a set of detectors.
pub struct Worker {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The consumer group of this set of detectors.
    pub group: String,
    /// Limits on frames and bytes in flight.
    pub options: ConsumerOptions,
    /// Parses messages.
    pub parser: FrameParser,
    /// Processes frames.
    pub processor: Arc<FrameProcessor>,
}

/// The tasks of the assigned partitions.
struct Partitions {
    processor: Arc<FrameProcessor>,
    publisher: Arc<Publisher>,
    max_in_flight: usize,
    open: HashMap<i32, mpsc::Sender<FrameTask>>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Worker {
    /// Consumes frames until `stop`, then finishes and commits the frames in flight.
    ///
    /// # Errors
    /// The worker cannot continue. Nothing is lost: unfinished frames are delivered again after the next start.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let group = Group {
            role: TopicRole::Frames,
            name: self.group,
            options: self.options,
            retries: metrics::retries("consume"),
        };
        let Some(mut reader) = GroupReader::join(&*self.bus, &group, &stop).await? else { return Ok(()) };
        let finisher = reader.finisher();
        let publisher = Arc::new(Publisher::new(&*self.bus, finisher.clone())?);
        let mut partitions = Partitions::new(self.processor, publisher, self.options.max_in_flight);
        loop {
            let incoming = tokio::select! {
                biased;
                Some(ended) = partitions.tasks.join_next() => {
                    ended.context("a partition's task ended")??;
                    continue;
                }
                incoming = reader.next() => incoming?,
            };
            let Some(incoming) = incoming else { break };
            route(incoming, &self.parser, &*finisher, &mut partitions).await;
        }
        partitions.finish(reader).await
    }
}

async fn route(incoming: Incoming, parser: &FrameParser, finisher: &dyn Finisher, partitions: &mut Partitions) {
    match incoming {
        Incoming::Delivery(delivery) => {
            let position = delivery.position;
            match parser.parse(delivery) {
                Some(task) => partitions.send(task).await,
                None => {
                    metrics::frame("skipped");
                    finisher.finished(position);
                }
            }
        }
        Incoming::Assigned(partitions) => tracing::info!(?partitions, "partitions assigned"),
        Incoming::Revoked(revoked) => {
            tracing::info!(partitions = ?revoked, "partitions revoked; finishing their frames in flight");
            partitions.close(&revoked);
        }
        Incoming::Gap { partition, from, to } => {
            tracing::error!(partition, from, to, "frames were dropped by retention before they were processed");
            metrics::lost(to - from);
        }
    }
}

impl Partitions {
    fn new(processor: Arc<FrameProcessor>, publisher: Arc<Publisher>, max_in_flight: usize) -> Self {
        Self { processor, publisher, max_in_flight, open: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Sends a frame to the task of its partition and starts that task if there is none.
    async fn send(&mut self, task: FrameTask) {
        let partition = task.position.partition;
        if !self.open.contains_key(&partition) {
            let (sender, tasks) = mpsc::channel(self.max_in_flight);
            let partition_task = PartitionTask {
                processor: self.processor.clone(),
                publisher: self.publisher.clone(),
                max_in_flight: self.max_in_flight,
            };
            self.tasks.spawn(partition_task.run(tasks));
            self.open.insert(partition, sender);
        }
        if let Some(sender) = self.open.get(&partition) {
            // A closed channel means that the task failed; `run` gets its error from `tasks` and ends the worker.
            drop(sender.send(task).await);
        }
    }

    /// Closes the channels of revoked partitions; their tasks end after their current frames.
    fn close(&mut self, revoked: &[i32]) {
        self.open.retain(|partition, _| !revoked.contains(partition));
    }

    /// Finishes the frames in flight while the bus waits, commits and leaves the consumer group.
    async fn finish(mut self, reader: GroupReader) -> anyhow::Result<()> {
        self.open.clear();
        let closing = reader.close();
        tokio::pin!(closing);
        loop {
            tokio::select! {
                closed = &mut closing => return closed,
                Some(ended) = self.tasks.join_next() => ended.context("a partition's task ended")??,
            }
        }
    }
}
