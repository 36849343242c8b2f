//! The loop: a batch's documents, alerts and dead letters are written side by side; then, and only then, it is finished.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bus, BusError, Producer};
use contracts::{AlertEvent, DeadLetter, Event, Message, Role};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use metrics::{counter, histogram};
use platform::retry::Backoff;
use store::{Documents, Indexed, PutOutcome, StoreError};
use tokio_util::sync::CancellationToken;

use crate::Deps;
use crate::alerts::Raised;
use crate::intake::{Batch, Intake, Taken, dead_letter};
use crate::reading::cause;

/// Most alerts or dead letters of a batch that wait for the log at once.
const SENDS: usize = 1_000;

/// Why a batch was left unfinished.
enum Interrupted {
    /// The stop came while store or log was out of reach. Nothing was finished: the batch will be done again.
    Stop,
    /// Store or log refused for good.
    Failure(anyhow::Error),
}

/// Writes what the intake takes.
pub struct Work {
    bus: Arc<dyn Bus>,
    producer: Arc<dyn Producer>,
    documents: Arc<dyn Documents>,
    raised: Raised,
    stop: CancellationToken,
}

impl Work {
    /// Work that tries what may pass until `stop`.
    pub fn new(deps: &Deps, stop: CancellationToken) -> Self {
        Self {
            bus: Arc::clone(&deps.bus),
            producer: deps.bus.producer(),
            documents: Arc::clone(&deps.documents),
            raised: Raised::new(),
            stop,
        }
    }

    /// Results in; documents and alerts out, until the intake ends.
    ///
    /// # Errors
    /// When the log or the store refuses for good.
    pub async fn run(mut self, mut intake: Intake) -> anyhow::Result<()> {
        while let Some(taken) = intake.next().await {
            let outcome = match &taken {
                Taken::Assigned => self.recall().await,
                Taken::Batch(batch, _) => self.write(batch).await,
            };
            match (outcome, taken) {
                (Ok(()), Taken::Assigned) => {}
                // Last on purpose: a crash above repeats the batch instead of losing it.
                (Ok(()), Taken::Batch(batch, turn)) => {
                    batch.deliveries.iter().for_each(|delivery| intake.finished(delivery.position));
                    drop(turn);
                }
                // Left without draining: what is unfinished will not be finished by waiting for it.
                (Err(Interrupted::Stop), _) => return Ok(()),
                (Err(Interrupted::Failure(error)), _) => return Err(error),
            }
        }
        intake.close().await
    }

    /// Learns which alerts the log has, before results of partitions that come from elsewhere are worked on.
    async fn recall(&mut self) -> Result<(), Interrupted> {
        let mut pauses = pauses();
        while let Err(error) = self.raised.recall(&*self.bus).await {
            wait_or_fail(error, "the end of the alerts cannot be read", &mut pauses, &self.stop).await?;
        }
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Interrupted> {
        let alerts = self.new_alerts(batch);
        let sends = alerts.iter().map(|alert| (Role::Alerts, alert.to_message()));
        let letters = batch.poison.iter().map(|letter| (Role::ResultsDlq, bury(letter)));
        tokio::try_join!(
            self.put(batch, 0..batch.wanted.len()),
            self.send(sends.collect()),
            self.send(letters.collect()),
        )?;
        for alert in alerts {
            counter!("sightline_indexer_alerts_total").increment(1);
            self.raised.insert(alert.data.id);
        }
        Ok(())
    }

    /// The batch's alerts that the log does not have yet: of two with one id, the first.
    fn new_alerts<'a>(&self, batch: &'a Batch) -> Vec<&'a AlertEvent> {
        let mut in_batch = std::collections::HashSet::new();
        let all = batch.wanted.iter().flat_map(|indexed| &indexed.alerts);
        all.filter(|alert| !self.raised.contains(&alert.data.id) && in_batch.insert(alert.data.id)).collect()
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
            let topic = self.bus.topic(Role::Results);
            let letters = delivery.map(|delivery| bury(&dead_letter(topic, delivery, cause("unstorable", &refusal))));
            self.send(letters.map(|letter| (Role::ResultsDlq, letter)).into_iter().collect()).await
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
                    wait(&mut pauses, &self.stop).await?;
                }
            }
        }
    }

    /// Sends messages and waits until the log has all of them.
    async fn send(&self, messages: Vec<(Role, Message)>) -> Result<(), Interrupted> {
        let mut sends =
            stream::iter(messages.into_iter().map(|(role, message)| self.send_one(role, message))).buffered(SENDS);
        while let Some(sent) = sends.next().await {
            sent?;
        }
        Ok(())
    }

    /// Sends a message until the log has it. A second try after an unclear first may put it there twice: readers drop the
    /// repeat by its id.
    async fn send_one(&self, role: Role, message: Message) -> Result<(), Interrupted> {
        let mut pauses = pauses();
        loop {
            let sent = match self.producer.send(role, message.clone()) {
                Ok(acknowledged) => acknowledged.await.map(drop),
                Err(error) => Err(error),
            };
            match sent {
                Ok(()) => return Ok(()),
                Err(error @ BusError::TooLarge { .. }) => {
                    // Nothing that fits on `results` gets here, unless the topics' limits were set apart by hand.
                    counter!("sightline_indexer_unsendable_total", "topic" => role.as_str()).increment(1);
                    let origin = message.headers.text("ce_id").unwrap_or_default();
                    tracing::error!(%error, event.id = origin, "a message is given up; raise the topic's max_message_bytes");
                    return Ok(());
                }
                Err(error) => wait_or_fail(error, "the log does not take messages", &mut pauses, &self.stop).await?,
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

const fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(5))
}

fn failure(error: impl Into<anyhow::Error>, what: &'static str) -> Interrupted {
    Interrupted::Failure(error.into().context(what))
}

/// Waits before the next try, unless the stop comes.
async fn wait(pauses: &mut Backoff, stop: &CancellationToken) -> Result<(), Interrupted> {
    tokio::select! {
        () = stop.cancelled() => Err(Interrupted::Stop),
        () = tokio::time::sleep(pauses.pause()) => Ok(()),
    }
}

/// Waits before the next try, where one may help.
async fn wait_or_fail(
    error: BusError,
    what: &'static str,
    pauses: &mut Backoff,
    stop: &CancellationToken,
) -> Result<(), Interrupted> {
    if !error.is_transient() {
        return Err(failure(error, what));
    }
    tracing::warn!(%error, "{what}; trying again");
    wait(pauses, stop).await
}
