//! One partition's frames: examined side by side, published in the order of their offsets.
//!
//! Frames are examined by tasks of their own; their findings are taken in the order in which the frames came, which is all
//! the reordering there is. Results are handed to the log without waiting for the acknowledgement of those before. Where
//! the log fails to take one, the lane waits until it knows the fate of all it handed over, then sends what is missing one
//! by one, in order, and only then goes on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::stream::{FuturesOrdered, StreamExt};
use platform::retry::Backoff;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::examine::{Examined, Examiner};
use crate::consumer::Work;
use crate::publisher::{Ending, Publication, Publisher};

/// Works off a partition until its frames end.
pub struct Lane {
    /// Examines frames.
    pub examiner: Arc<Examiner>,
    /// Publishes what came of it.
    pub publisher: Arc<Publisher>,
    /// Frames in hand at most; the bus holds to the same number.
    pub width: usize,
}

impl Lane {
    /// Examines and publishes all of `frames`.
    ///
    /// # Errors
    /// When the worker cannot go on.
    pub async fn run(self, frames: mpsc::Receiver<Work>) -> anyhow::Result<()> {
        let frames = futures::stream::unfold(frames, async |mut frames| frames.recv().await.map(|work| (work, frames)));
        let examined = frames.map(|work| self.begin(work)).buffered(self.width);
        let mut examined = std::pin::pin!(examined);
        let mut handed_over = FuturesOrdered::new();
        loop {
            tokio::select! {
                biased;
                Some(ending) = handed_over.next() => self.settle(ending?, &mut handed_over).await?,
                next = examined.next() => match next {
                    Some(next) => handed_over.push_back(self.publisher.hand_over(next??).await?),
                    None => break,
                },
            }
        }
        while let Some(ending) = handed_over.next().await {
            self.settle(ending?, &mut handed_over).await?;
        }
        Ok(())
    }

    /// Starts examining a frame, at once and until it is done or nobody waits for it any more.
    fn begin(&self, work: Work) -> impl Future<Output = anyhow::Result<anyhow::Result<Examined>>> + use<> {
        let examiner = self.examiner.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move { examiner.examine(work).await }));
        async move { task.await.context("a frame's task ended") }
    }

    async fn settle(&self, ending: Ending, handed_over: &mut FuturesOrdered<Publication>) -> anyhow::Result<()> {
        let Ending::Again(first) = ending else { return Ok(()) };
        let mut unsent = vec![*first];
        while let Some(ending) = handed_over.next().await {
            if let Ending::Again(next) = ending? {
                unsent.push(*next);
            }
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(15));
        for mut examined in unsent {
            while let Ending::Again(same) = self.publisher.hand_over(examined).await?.await? {
                examined = *same;
                tokio::time::sleep(backoff.pause()).await;
            }
            backoff.reset();
        }
        Ok(())
    }
}
