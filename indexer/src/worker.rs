//! The loop: writes a batch's documents and dead letters, and awaits its alerts at the same time. Then the batch is finished.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bus::Finisher;
use consumer_kit::{DeadLetterQueue, Interrupted, PendingSend, Retry, Sender, backoff};
use contracts::DeadLetter;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use metrics::{counter, histogram};
use store::{Indexed, PutOutcome, ResultStore, StoreError};
use tokio_util::sync::CancellationToken;

use crate::batcher::{Batch, BatchReader, ReadyBatch};
use crate::consumer::cause;

/// Writes batches.
pub struct BatchWriter {
    /// Where documents are written.
    pub documents: Arc<dyn ResultStore>,
    /// Awaits the acknowledgements of alerts.
    pub sender: Sender,
    /// Receives messages that cannot be indexed.
    pub dead_letters: DeadLetterQueue,
    /// Ends retries.
    pub stop: CancellationToken,
}

impl BatchWriter {
    /// Writes every batch until the reader ends.
    ///
    /// # Errors
    /// When the log or the store refuses for good.
    pub async fn run(self, mut batches: BatchReader) -> anyhow::Result<()> {
        let finisher = batches.finisher();
        let mut writes = FuturesUnordered::new();
        let mut ended = false;
        while !(ended && writes.is_empty()) {
            let written = tokio::select! {
                Some(written) = writes.next() => written,
                batch = batches.next(), if !ended => {
                    match batch {
                        Some(batch) => writes.push(self.write_and_finish(batch, &*finisher)),
                        None => ended = true,
                    }
                    continue;
                }
            };
            match written {
                Ok(()) => {}
                // Leaves without draining: the unfinished work would not finish.
                Err(interrupted) => return interrupted.end(),
            }
        }
        drop(writes);
        batches.close().await
    }

    async fn write_and_finish(&self, ready: ReadyBatch, finisher: &dyn Finisher) -> Result<(), Interrupted> {
        let ReadyBatch { batch, alerts, permit } = ready;
        self.write(&batch, alerts).await?;
        // Last on purpose: a crash above repeats the batch instead of losing it.
        batch.deliveries.iter().for_each(|delivery| finisher.finished(delivery.position));
        drop(permit);
        Ok(())
    }

    async fn write(&self, batch: &Batch, alerts: Vec<PendingSend>) -> Result<(), Interrupted> {
        let letters = batch.dead_letters.iter().map(|letter| self.begin(letter)).collect();
        tokio::try_join!(
            self.put(batch, 0..batch.documents.len()),
            self.await_alerts(alerts),
            self.send_dead_letters(letters)
        )?;
        Ok(())
    }

    /// An alert that does not fit its topic is logged and dropped. This happens only if the limits
    /// of the topics differ, because a result is larger than its alert.
    async fn await_alerts(&self, alerts: Vec<PendingSend>) -> Result<(), Interrupted> {
        for too_large in self.sender.await_acks(alerts).await? {
            count_unsendable(too_large.role.as_str());
            let (id, error) = (too_large.message.headers.text("ce_id"), &too_large.error);
            tracing::error!(%error, event.id = id, "an alert is dropped; raise the topic's max_message_bytes");
        }
        Ok(())
    }

    /// Stores documents. A document that the store refuses for good becomes a dead letter.
    ///
    /// A store refuses a whole batch. Halves of it are tried until a single document is refused while the store is healthy:
    /// that document is to blame.
    fn put<'a>(&'a self, batch: &'a Batch, part: Range<usize>) -> BoxFuture<'a, Result<(), Interrupted>> {
        async move {
            let documents = batch.documents.get(part.clone()).unwrap_or_default();
            let mut spans = batch.put_spans(part.clone());
            let Err(refusal) = self.put_with_retries(documents).await? else {
                return Ok(());
            };
            spans.iter_mut().for_each(|span| span.fail("unstorable"));
            drop(spans);
            if part.len() > 1 {
                let middle = part.start + part.len() / 2;
                self.put(batch, part.start..middle).await?;
                return self.put(batch, middle..part.end).await;
            }
            self.documents.check().await.map_err(|error| Interrupted::failure(error, "the store refuses"))?;
            let delivery = batch.delivery_of.get(part.start).and_then(|index| batch.deliveries.get(*index));
            let Some(delivery) = delivery else { return Ok(()) };
            let cause = cause("unstorable", &refusal);
            let letter = self.dead_letters.letter(delivery.position, delivery.message.clone(), cause);
            self.send_dead_letters(vec![self.begin(&letter)]).await
        }
        .boxed()
    }

    /// `Ok(Err(reason))` when the store refuses these documents for good. Retries while the store is unavailable.
    async fn put_with_retries(&self, documents: &[Indexed]) -> Result<Result<(), String>, Interrupted> {
        if documents.is_empty() {
            return Ok(Ok(()));
        }
        let mut retry = Retry::new("results cannot be stored", backoff::STORE, &self.stop);
        loop {
            let started = Instant::now();
            match self.documents.put(documents).await {
                Ok(outcomes) => {
                    histogram!("sightline_indexer_put_seconds").record(started.elapsed());
                    count_stored(&outcomes);
                    return Ok(Ok(()));
                }
                Err(StoreError::Fatal(reason)) => return Ok(Err(reason)),
                Err(
                    StoreError::Unavailable(reason) | StoreError::DiskFull(reason) | StoreError::Misconfigured(reason),
                ) => {
                    let size = documents.len();
                    tracing::warn!(error = reason, batch.size = size, "results cannot be stored; trying again");
                    retry.wait().await?;
                }
            }
        }
    }

    fn begin(&self, letter: &DeadLetter) -> PendingSend {
        counter!("sightline_indexer_dead_letters_total", "cause" => letter.cause.code.clone()).increment(1);
        self.dead_letters.begin(letter)
    }

    async fn send_dead_letters(&self, letters: Vec<PendingSend>) -> Result<(), Interrupted> {
        for _ in 0..self.dead_letters.await_acks(letters).await? {
            count_unsendable(contracts::TopicRole::ResultsDlq.as_str());
        }
        Ok(())
    }
}

fn count_stored(outcomes: &[PutOutcome]) {
    let superseded = outcomes.iter().filter(|outcome| **outcome == PutOutcome::Superseded).count();
    let stored = outcomes.len() - superseded;
    counter!("sightline_indexer_results_total", "outcome" => "stored").increment(stored as u64);
    counter!("sightline_indexer_results_total", "outcome" => "superseded").increment(superseded as u64);
}

fn count_unsendable(topic: &'static str) {
    counter!("sightline_indexer_unsendable_total", "topic" => topic).increment(1);
}
