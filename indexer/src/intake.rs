//! Results into batches by count or age: read, decoded and matched against the rules, ready to be written.
//!
//! It runs in a task of its own: while batches are written the next is gathered and decoded, so that decoding costs no time
//! in which the store idles. A batch goes as soon as there is a turn to write it, however small it is: batches are as large
//! as the store is slow, and nothing waits longer than it must. Alerts do not wait for a batch, nor for the store: they go
//! to the log as soon as there is no other result to be read at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::{BusError, Consumer, ConsumerOptions, Delivery, Finisher, Incoming, Position};
use contracts::{Cause, DeadLetter, DetectorName, FrameId, Origin, Outcome, TenantId, TopicRole, groups};
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, histogram};
use platform::retry::Backoff;
use store::Indexed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::alerts::{Raising, alerts};
use crate::reading::{Reading, cause};
use crate::recent::Recent;
use crate::rules_in_force::RulesInForce;
use crate::sending::{Interrupted, Sending, Sent};
use crate::{Config, Deps};

/// Of how many results it is remembered which came first for their frame.
const FIRSTS: usize = 20_000;
/// Batches that are written side by side: the store's wait for its journal is no time to stand still.
const TURNS: usize = 2;

/// A batch ready to be written.
#[derive(Default)]
pub struct Batch {
    /// What goes into the store.
    pub wanted: Vec<Indexed>,
    /// For each of `wanted`, the place of its message among `deliveries`.
    pub places: Vec<usize>,
    /// What goes to the dead letters.
    pub poison: Vec<DeadLetter>,
    /// All messages that the batch was made of.
    pub deliveries: Vec<Delivery>,
}

/// What the intake hands over.
pub struct Taken {
    /// Results.
    pub batch: Batch,
    /// Alerts about them, on their way to the log.
    pub alerts: Vec<Sent>,
    /// The right to write them, which goes to others when this is dropped.
    pub turn: Turn,
}

/// The turn of a batch to be written.
pub type Turn = OwnedSemaphorePermit;

/// The far end of the intake's task.
pub struct Intake {
    taken: mpsc::Receiver<Taken>,
    finisher: Arc<dyn Finisher>,
    /// Ends with this: who drops the service drops the membership too.
    task: AbortOnDropHandle<anyhow::Result<Box<dyn Consumer>>>,
}

impl Intake {
    /// Joins the indexers' group and begins to take, until `stop`; nothing where that comes first. What passes, such as a full
    /// disk, is waited out.
    ///
    /// # Errors
    /// When the log refuses.
    pub async fn join(
        config: &Config,
        deps: &Deps,
        rules: Arc<RulesInForce>,
        sending: &Sending,
        stop: CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let incarnation = deps.bus.incarnation(TopicRole::Results).await.context("the results topic")?;
        // Some batches are being written, one is gathered, and there is room for the log to be ahead.
        let max_in_flight = (TURNS + 3) * config.index_batch;
        let options = ConsumerOptions { max_in_flight, ..ConsumerOptions::default() };
        let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let consumer = loop {
            match deps.bus.consumer(TopicRole::Results, groups::INDEXER, options).await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "the group of indexers cannot be joined; trying again");
                }
                joined => break joined.context("the indexers' group")?,
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(pauses.pause()) => {}
            }
        };
        let finisher = consumer.finisher();
        let (sender, taken) = mpsc::channel(1);
        let taker = Taker {
            consumer,
            sender,
            turns: Arc::new(Semaphore::new(TURNS)),
            gathering: Batch::default(),
            looked_at: 0,
            alerts: Vec::new(),
            raising: Raising::new(Arc::clone(&deps.bus), sending.clone()),
            due: None,
            size: config.index_batch,
            wait: config.index_wait,
            preparing: Preparing {
                reading: Reading { incarnation, foreign_tenant: config.foreign_tenant.clone() },
                topic: deps.bus.topic(TopicRole::Results).to_owned(),
                rules,
                retention: SignedDuration::try_from(config.retention).unwrap_or(SignedDuration::MAX),
                firsts: Recent::new(FIRSTS),
            },
        };
        Ok(Some(Self { taken, finisher, task: AbortOnDropHandle::new(tokio::spawn(taker.run(stop))) }))
    }

    /// What comes next; nothing after `stop`, once everything taken was handed over.
    pub async fn next(&mut self) -> Option<Taken> {
        self.taken.recv().await
    }

    /// Marks messages as finished.
    pub fn finisher(&self) -> Arc<dyn Finisher> {
        Arc::clone(&self.finisher)
    }

    /// Leaves the group after the last batch; commits what is finished.
    ///
    /// # Errors
    /// What ended the taking, if it was not `stop`.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.taken.close();
        let consumer = self.task.await.context("the intake's task")??;
        consumer.close().await.context("leaving the indexers' group")
    }
}

struct Taker {
    consumer: Box<dyn Consumer>,
    sender: mpsc::Sender<Taken>,
    turns: Arc<Semaphore>,
    gathering: Batch,
    /// Of what is gathered, how many results were looked at for alerts, and the alerts there were.
    looked_at: usize,
    alerts: Vec<Sent>,
    raising: Raising,
    /// When what is gathered must go, however little it is.
    due: Option<Instant>,
    size: usize,
    wait: Duration,
    preparing: Preparing,
}

impl Taker {
    /// Takes until `stop`, hands over the rest and gives the consumer back.
    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<Box<dyn Consumer>> {
        let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let full = self.gathering.deliveries.len() >= self.size;
            let incoming = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                turn = may_go(self.due, full, &self.turns) => {
                    if !self.hand_over(turn).await { break }
                    continue;
                }
                incoming = self.consumer.next(), if !full => incoming,
                // Nothing is there at once: who waits for an alert shall not wait for what may come.
                () = std::future::ready(()), if self.looked_at < self.gathering.wanted.len() => {
                    self.raise();
                    continue;
                }
            };
            let going_on = match incoming {
                Ok(incoming) => {
                    pauses.reset();
                    self.take(incoming).await?
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "results cannot be read; trying again");
                    tokio::time::sleep(pauses.pause()).await;
                    true
                }
                Err(BusError::Closed) if stop.is_cancelled() => false,
                Err(error) => return Err(error).context("results cannot be read"),
            };
            if !going_on {
                break;
            }
        }
        self.flush().await;
        Ok(self.consumer)
    }

    /// Whether anybody still wants what is taken.
    async fn take(&mut self, incoming: Incoming) -> anyhow::Result<bool> {
        Ok(match incoming {
            Incoming::Delivery(delivery) => {
                self.due.get_or_insert_with(|| Instant::now() + self.wait);
                self.preparing.add(&mut self.gathering, delivery);
                true
            }
            Incoming::Assigned(partitions) => {
                tracing::info!(?partitions, "partitions of the results came to this indexer");
                // Before any result of theirs: which alerts does the log have?
                match self.raising.recall().await {
                    Ok(()) => self.flush().await,
                    Err(Interrupted::Stop) => false,
                    Err(Interrupted::Failure(error)) => return Err(error),
                }
            }
            Incoming::Revoked(partitions) => {
                tracing::info!(?partitions, "partitions of the results go to another indexer");
                self.flush().await
            }
            Incoming::Gap { partition, from, to } => {
                counter!("sightline_indexer_lost_results_total").increment(u64::try_from(to - from).unwrap_or(0));
                tracing::error!(
                    partition,
                    from,
                    to,
                    "results were dropped by retention before they were indexed; raise the topic's retention or add indexers"
                );
                true
            }
        })
    }

    /// Sends the alerts about what is gathered that were not sent yet.
    fn raise(&mut self) {
        let wanted = self.gathering.wanted.get(self.looked_at..).unwrap_or_default();
        let alerts = wanted.iter().flat_map(|indexed| &indexed.alerts);
        self.alerts.extend(self.raising.raise(alerts));
        self.looked_at = self.gathering.wanted.len();
    }

    /// Hands over what is gathered, whatever it is; false when nobody takes it any more.
    async fn flush(&mut self) -> bool {
        if self.gathering.deliveries.is_empty() {
            return true;
        }
        let turn = may_go(self.due, true, &self.turns).await;
        self.hand_over(turn).await
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch has far less than 2^52 results")]
    async fn hand_over(&mut self, turn: Option<Turn>) -> bool {
        self.raise();
        (self.due, self.looked_at) = (None, 0);
        let (batch, alerts) = (std::mem::take(&mut self.gathering), std::mem::take(&mut self.alerts));
        histogram!("sightline_indexer_batch_results").record(batch.deliveries.len() as f64);
        let Some(turn) = turn else { return false };
        self.sender.send(Taken { batch, alerts, turn }).await.is_ok()
    }
}

/// Waits until a batch may go: it is full or old enough, and it has a turn. An empty one never may.
async fn may_go(due: Option<Instant>, full: bool, turns: &Arc<Semaphore>) -> Option<Turn> {
    match due {
        None => std::future::pending().await,
        Some(_) if full => {}
        Some(due) => tokio::time::sleep_until(due).await,
    }
    Arc::clone(turns).acquire_owned().await.ok()
}

/// From messages to what is written of them.
struct Preparing {
    reading: Reading,
    topic: String,
    rules: Arc<RulesInForce>,
    retention: SignedDuration,
    firsts: Recent<(TenantId, FrameId, DetectorName), Uuid>,
}

impl Preparing {
    fn add(&mut self, batch: &mut Batch, delivery: Delivery) {
        match self.indexed(&delivery) {
            Ok(indexed) => {
                batch.wanted.push(indexed);
                batch.places.push(batch.deliveries.len());
            }
            Err(cause) => batch.poison.push(dead_letter(&self.topic, &delivery, cause)),
        }
        batch.deliveries.push(delivery);
    }

    fn indexed(&mut self, delivery: &Delivery) -> Result<Indexed, Cause> {
        let result = self.reading.result(delivery)?;
        // Stores keep times to the millisecond: alerts on the log shall say the same as alerts of the past.
        let now = Timestamp::now();
        let indexed_at = now.round(jiff::Unit::Millisecond).unwrap_or(now);
        // Retention counts from now and not from the capture: an old date is not deleted on arrival.
        let expires_at = indexed_at.checked_add(self.retention).map_err(|error| cause("unstorable", &error))?;
        let key = (result.tenant.clone(), result.data.frame_id, result.data.detector.clone());
        // A repeat of the detector's work, published under another id after a crash, is ignored by the store and raises
        // nothing. The store's verdict comes only with the write, and alerts do not wait for it; so the repeat is told by
        // what this process saw. Where it forgot (it too crashed in between), the repeat's alert has the id of the first
        // one's, since both follow from rule and frame, and readers of the log drop it; and where the two runs of one
        // detector disagree, the alert still tells of something that was seen.
        // A failure is not remembered: the store lets it give way to a result, whose alerts are the first.
        let failed = matches!(result.data.outcome, Outcome::Failed { .. });
        let superseded = !failed && *self.firsts.first(key, result.id) != result.id;
        let alerts = if superseded { Vec::new() } else { alerts(&self.rules.now(), &result, indexed_at) };
        Ok(Indexed { result, alerts, indexed_at, expires_at })
    }
}

/// The dead letter of a message on `topic`.
pub fn dead_letter(topic: &str, delivery: &Delivery, cause: Cause) -> DeadLetter {
    let Position { partition, offset } = delivery.position;
    DeadLetter {
        cause,
        origin: Origin { topic: topic.to_owned(), partition, offset },
        at: Timestamp::now(),
        original: delivery.message.clone(),
    }
}
