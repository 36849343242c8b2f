//! Processes the frames of one partition concurrently and publishes their results in the order of the offsets.
//!
//! Each frame is processed by its own task. The results are awaited in the order of the deliveries, so no other reordering
//! is necessary. Results go to the producer without waiting for earlier acknowledgements. When the bus does not
//! acknowledge a result, the partition waits until every sent result is acknowledged or refused, sends the missing ones
//! again one by one, in order, and then continues.

use std::sync::Arc;

use anyhow::Context;
use consumer_kit::backoff;
use futures::stream::{FuturesOrdered, StreamExt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::processor::FrameProcessor;
use crate::consumer::FrameTask;
use crate::publisher::{PendingPublish, ProcessedFrame, Published, Publisher};

/// Processes one partition until its channel closes.
pub struct PartitionTask {
    /// Processes frames.
    pub processor: Arc<FrameProcessor>,
    /// Publishes results.
    pub publisher: Arc<Publisher>,
    /// Maximum number of frames processed concurrently; the bus limits deliveries to the same number.
    pub max_in_flight: usize,
}

impl PartitionTask {
    /// Processes and publishes everything that `tasks` delivers.
    ///
    /// # Errors
    /// The worker cannot continue.
    pub async fn run(self, tasks: mpsc::Receiver<FrameTask>) -> anyhow::Result<()> {
        let tasks = futures::stream::unfold(tasks, async |mut tasks| tasks.recv().await.map(|task| (task, tasks)));
        let processed = tasks.map(|task| self.start(task)).buffered(self.max_in_flight);
        let mut processed = std::pin::pin!(processed);
        let mut pending = FuturesOrdered::new();
        loop {
            tokio::select! {
                biased;
                Some(published) = pending.next() => self.retry_unpublished(published?, &mut pending).await?,
                next = processed.next() => match next {
                    Some(next) => pending.push_back(self.publisher.publish(next??).await?),
                    None => break,
                },
            }
        }
        while let Some(published) = pending.next().await {
            self.retry_unpublished(published?, &mut pending).await?;
        }
        Ok(())
    }

    /// Starts processing a frame at once. Dropping the future aborts the task.
    fn start(&self, task: FrameTask) -> impl Future<Output = anyhow::Result<anyhow::Result<ProcessedFrame>>> + use<> {
        let processor = self.processor.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move { processor.process(task).await }));
        async move { task.await.context("a frame's task ended") }
    }

    async fn retry_unpublished(
        &self,
        published: Published,
        pending: &mut FuturesOrdered<PendingPublish>,
    ) -> anyhow::Result<()> {
        let Published::Retry(first) = published else { return Ok(()) };
        let mut unpublished = vec![*first];
        while let Some(published) = pending.next().await {
            if let Published::Retry(next) = published? {
                unpublished.push(*next);
            }
        }
        let mut backoff = backoff::SEND;
        for mut frame in unpublished {
            while let Published::Retry(same) = self.publisher.publish(frame).await?.await? {
                frame = *same;
                tokio::time::sleep(backoff.pause()).await;
            }
            backoff.reset();
        }
        Ok(())
    }
}
