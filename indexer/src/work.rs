//! The loop: a batch's documents and dead letters are written side by side, and its alerts awaited; then, and only then, it is
//! finished.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bus::{Bus, Finisher};
use contracts::{DeadLetter, Message, TopicRole};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use metrics::{counter, histogram};
use store::{Documents, Indexed, PutOutcome, StoreError};

use crate::Deps;
use crate::intake::{Batch, Intake, Taken, dead_letter};
use crate::reading::cause;
use crate::sending::{Interrupted, Sending, Sent, failure, pauses};

/// Writes what the intake takes.
pub struct Work {
    bus: Arc<dyn Bus>,
    documents: Arc<dyn Documents>,
    sending: Sending,
}

impl Work {
    /// Work that tries what may pass as long as `sending` does.
    pub fn new(deps: &Deps, sending: Sending) -> Self {
        Self { bus: Arc::clone(&deps.bus), documents: Arc::clone(&deps.documents), sending }
    }

    /// Results in; documents and alerts out, until the intake ends.
    ///
    /// # Errors
    /// When the log or the store refuses for good.
    pub async fn run(self, mut intake: Intake) -> anyhow::Result<()> {
        let finisher = intake.finisher();
        let mut writing = FuturesUnordered::new();
        let mut ended = false;
        while !(ended && writing.is_empty()) {
            let written = tokio::select! {
                Some(written) = writing.next() => written,
                taken = intake.next(), if !ended => {
                    match taken {
                        Some(taken) => writing.push(self.write_and_finish(taken, &*finisher)),
                        None => ended = true,
                    }
                    continue;
                }
            };
            match written {
                Ok(()) => {}
                // Left without draining: what is unfinished will not be finished by waiting for it.
                Err(Interrupted::Stop) => return Ok(()),
                Err(Interrupted::Failure(error)) => return Err(error),
            }
        }
        drop(writing);
        intake.close().await
    }

    async fn write_and_finish(&self, taken: Taken, finisher: &dyn Finisher) -> Result<(), Interrupted> {
        let Taken { batch, alerts, turn } = taken;
        self.write(&batch, alerts).await?;
        // Last on purpose: a crash above repeats the batch instead of losing it.
        batch.deliveries.iter().for_each(|delivery| finisher.finished(delivery.position));
        drop(turn);
        Ok(())
    }

    async fn write(&self, batch: &Batch, alerts: Vec<Sent>) -> Result<(), Interrupted> {
        let letters = batch.poison.iter().map(|letter| self.sending.begin(TopicRole::ResultsDlq, bury(letter)));
        tokio::try_join!(
            self.put(batch, 0..batch.wanted.len()),
            self.sending.settle(alerts),
            self.sending.settle(letters.collect()),
        )?;
        Ok(())
    }

    /// Stores documents; what the store will never take is dead-lettered.
    ///
    /// The store says of a whole batch that it refuses. Halves of it are tried until the one document is found that is to
    /// blame; where a single one is refused and the store is well otherwise, it is that document.
    fn put<'a>(&'a self, batch: &'a Batch, part: Range<usize>) -> BoxFuture<'a, Result<(), Interrupted>> {
        async move {
            let Err(refusal) = self.put_at_once(batch.wanted.get(part.clone()).unwrap_or_default()).await? else {
                return Ok(());
            };
            if part.len() > 1 {
                let middle = part.start + part.len() / 2;
                self.put(batch, part.start..middle).await?;
                return self.put(batch, middle..part.end).await;
            }
            self.documents.check().await.map_err(|error| failure(error, "the store refuses"))?;
            let delivery = batch.places.get(part.start).and_then(|place| batch.deliveries.get(*place));
            let topic = self.bus.topic(TopicRole::Results);
            let letter = delivery.map(|delivery| bury(&dead_letter(topic, delivery, cause("unstorable", &refusal))));
            let sent = letter.map(|letter| self.sending.begin(TopicRole::ResultsDlq, letter));
            self.sending.settle(sent.into_iter().collect()).await
        }
        .boxed()
    }

    /// Stores documents, or brings back why the store never will. What may pass is waited out.
    async fn put_at_once(&self, documents: &[Indexed]) -> Result<Result<(), String>, Interrupted> {
        if documents.is_empty() {
            return Ok(Ok(()));
        }
        let mut pauses = pauses();
        loop {
            let begun = Instant::now();
            match self.documents.put(documents).await {
                Ok(outcomes) => {
                    histogram!("sightline_indexer_put_seconds").record(begun.elapsed());
                    let superseded = outcomes.iter().filter(|outcome| **outcome == PutOutcome::Superseded).count();
                    let stored = outcomes.len() - superseded;
                    counter!("sightline_indexer_results_total", "outcome" => "stored").increment(stored as u64);
                    counter!("sightline_indexer_results_total", "outcome" => "superseded").increment(superseded as u64);
                    return Ok(Ok(()));
                }
                Err(StoreError::Fatal(reason)) => return Ok(Err(reason)),
                Err(StoreError::Unavailable(reason)) => {
                    let size = documents.len();
                    tracing::warn!(error = reason, batch.size = size, "results cannot be stored; trying again");
                    self.sending.wait(&mut pauses).await?;
                }
            }
        }
    }
}

/// The message of a dead letter, counted and logged.
fn bury(letter: &DeadLetter) -> Message {
    counter!("sightline_indexer_dead_letters_total", "cause" => letter.cause.code.clone()).increment(1);
    tracing::warn!(
        topic = letter.origin.topic,
        partition = letter.origin.partition,
        offset = letter.origin.offset,
        frame.id = letter.original.headers.text("ce_subject"),
        cause = letter.cause.code,
        error = letter.cause.message,
        "a message cannot be indexed and goes to the dead letters"
    );
    letter.to_message()
}
