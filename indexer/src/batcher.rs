//! Reads results, decodes them, evaluates the rules, and groups them into batches by count or age.
//!
//! It runs in its own task. While one batch is written, the next is read and decoded, so the store never waits for decoding.
//! A batch is handed over as soon as a write permit is free, however small it is: batches grow only while the store is slow.
//! Alerts wait neither for a batch nor for the store: they are sent as soon as no other result is ready to be read, or when the
//! rules of the results that were read have taken [`MAX_UNSENT_STEPS`], so that costly rules of one tenant do not delay the others.

mod builder;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::{ConsumerOptions, Delivery, Finisher, Incoming};
use consumer_kit::{DeadLetterQueue, Group, GroupReader, Interrupted, PendingSend, Sender};
use contracts::{DeadLetter, TopicRole, groups};
use futures::FutureExt;
use metrics::{Counter, counter, histogram};
use platform::traces::Span;
use store::Indexed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::active_rules::ActiveRules;
use crate::alerts::AlertPublisher;
use crate::consumer::ResultDecoder;
use crate::{Config, Deps};
use builder::BatchBuilder;

/// Maximum number of messages added before the next check for a write permit.
const MAX_READY: usize = 32;
/// Work of evaluating rules, in steps, after which alerts are sent although more results are ready: some 5 ms.
const MAX_UNSENT_STEPS: u64 = 100_000;
/// Number of batches written concurrently, so that one is prepared while the store syncs its journal for another.
const MAX_WRITES: usize = 2;

/// The results of a group of messages, ready to be written.
#[derive(Default)]
pub struct Batch {
    /// Documents for the store.
    pub documents: Vec<Indexed>,
    /// For each document, the index of its message in `deliveries`.
    pub delivery_of: Vec<usize>,
    /// Messages that cannot be indexed.
    pub dead_letters: Vec<DeadLetter>,
    /// All messages of the batch.
    pub deliveries: Vec<Delivery>,
    /// The span of each document's message, which ends when the message is finished; empty without traces.
    pub spans: Vec<Span>,
}

impl Batch {
    /// The spans of writing a part of the documents.
    pub fn put_spans(&self, part: Range<usize>) -> Vec<Span> {
        let spans = self.spans.get(part.clone()).unwrap_or_default();
        let put = |span: &Span| {
            let mut put = span.child("put documents");
            put.set_count("batch.size", part.len());
            put
        };
        spans.iter().map(put).collect()
    }
}

/// A batch with its alerts and the permit to write it.
pub struct ReadyBatch {
    /// What to write.
    pub batch: Batch,
    /// Its alerts, in the producer's queue.
    pub alerts: Vec<PendingSend>,
    /// Lets another batch be written when it is dropped.
    pub permit: WritePermit,
}

/// Permit to write one batch.
pub type WritePermit = OwnedSemaphorePermit;

/// Receives batches from the task that reads them.
pub struct BatchReader {
    batches: mpsc::Receiver<ReadyBatch>,
    finisher: Arc<dyn Finisher>,
    /// Aborted on drop: dropping the service leaves the consumer group.
    task: AbortOnDropHandle<anyhow::Result<GroupReader>>,
}

impl BatchReader {
    /// Joins the indexers' consumer group and reads until `stop`. Returns `None` when `stop` comes before it has joined.
    ///
    /// # Errors
    /// When the log refuses for good.
    pub async fn join(
        config: &Config,
        deps: &Deps,
        rules: Arc<ActiveRules>,
        sender: &Sender,
        dead_letters: DeadLetterQueue,
        stop: CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let topic_id = deps.bus.topic_id(TopicRole::Results).await.context("the results topic")?;
        let decoder = ResultDecoder { topic_id, foreign_tenant: config.foreign_tenant.clone() };
        let group = group(config.index_batch);
        let Some(reader) = GroupReader::join(&*deps.bus, &group, &stop).await? else { return Ok(None) };
        let finisher = reader.finisher();
        let (sender_of_batches, batches) = mpsc::channel(1);
        let task = BatchTask {
            reader,
            batches: sender_of_batches,
            write_permits: Arc::new(Semaphore::new(MAX_WRITES)),
            batch: Batch::default(),
            alerts: Vec::new(),
            alerted: 0,
            unsent_steps: 0,
            publisher: AlertPublisher::new(Arc::clone(&deps.bus), sender.clone(), deps.traces.clone(), stop),
            due: None,
            size: config.index_batch,
            wait: config.index_wait,
            builder: BatchBuilder::new(config, decoder, dead_letters, rules, deps.traces.clone()),
        };
        Ok(Some(Self { batches, finisher, task: AbortOnDropHandle::new(tokio::spawn(task.run())) }))
    }

    /// The next batch; `None` after `stop`, when every message that was read has been handed over.
    pub async fn next(&mut self) -> Option<ReadyBatch> {
        self.batches.recv().await
    }

    /// Marks messages as finished.
    pub fn finisher(&self) -> Arc<dyn Finisher> {
        Arc::clone(&self.finisher)
    }

    /// Commits what is finished and leaves the group.
    ///
    /// # Errors
    /// The error that ended reading, if it was not `stop`.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.batches.close();
        let reader = self.task.await.context("the task that reads results")??;
        reader.close().await
    }
}

/// The indexers' consumer group, for batches of this size.
fn group(size: usize) -> Group {
    // Room for the batches that are written, for the one that is filled, and for prefetching.
    let options = ConsumerOptions { max_in_flight: (MAX_WRITES + 3) * size, ..ConsumerOptions::default() };
    Group { role: TopicRole::Results, name: groups::INDEXER.to_owned(), options, retries: Counter::noop() }
}

struct BatchTask {
    reader: GroupReader,
    batches: mpsc::Sender<ReadyBatch>,
    write_permits: Arc<Semaphore>,
    batch: Batch,
    /// The alerts of the first `alerted` documents of the batch.
    alerts: Vec<PendingSend>,
    alerted: usize,
    /// Steps that the rules of the other documents took.
    unsent_steps: u64,
    publisher: AlertPublisher,
    /// Time at which the batch is handed over, however small it is.
    due: Option<Instant>,
    /// Most messages of a batch.
    size: usize,
    /// Longest wait of a batch's first message.
    wait: Duration,
    builder: BatchBuilder,
}

impl BatchTask {
    /// Reads until the service stops, hands over the rest and returns the reader.
    async fn run(mut self) -> anyhow::Result<GroupReader> {
        loop {
            let full = self.batch.deliveries.len() >= self.size;
            let incoming = tokio::select! {
                biased;
                permit = write_permit(self.due, full, &self.write_permits) => {
                    if !self.hand_over(permit).await { break }
                    continue;
                }
                incoming = self.reader.next(), if !full => incoming?,
                // No result is ready to be read: subscribers must not wait for the next one.
                () = std::future::ready(()), if self.alerted < self.batch.documents.len() => {
                    self.send_alerts();
                    continue;
                }
            };
            let Some(incoming) = incoming else { break };
            if !self.take(incoming).await? || !self.take_ready().await? {
                break;
            }
        }
        self.flush().await;
        Ok(self.reader)
    }

    /// Adds messages that are ready to be read. This costs less than one by one in the loop above,
    /// with its timer and its wait for a permit. Returns `false` when reading ends.
    async fn take_ready(&mut self) -> anyhow::Result<bool> {
        for _ in 0..MAX_READY {
            if self.batch.deliveries.len() >= self.size {
                break;
            }
            let Some(incoming) = self.reader.next().now_or_never() else { break };
            let Some(incoming) = incoming? else { return Ok(false) };
            if !self.take(incoming).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns `false` when reading ends: the receiver of batches is gone, or the service stops.
    async fn take(&mut self, incoming: Incoming) -> anyhow::Result<bool> {
        Ok(match incoming {
            Incoming::Delivery(delivery) => {
                self.due.get_or_insert_with(|| Instant::now() + self.wait);
                self.unsent_steps += self.builder.add(&mut self.batch, delivery);
                if self.unsent_steps >= MAX_UNSENT_STEPS {
                    self.send_alerts();
                    // Evaluating does not await anything, and other tasks of this thread wait.
                    tokio::task::yield_now().await;
                }
                true
            }
            Incoming::Assigned(partitions) => {
                tracing::info!(?partitions, "partitions of the results topic assigned");
                // Before any result of these partitions is read, finds out which of their alerts are already on the log.
                match self.publisher.recall().await {
                    Ok(()) => self.flush().await,
                    Err(Interrupted::Stop) => false,
                    Err(Interrupted::Failure(error)) => return Err(error),
                }
            }
            Incoming::Revoked(partitions) => {
                tracing::info!(?partitions, "partitions of the results topic revoked");
                self.flush().await
            }
            Incoming::Gap { partition, from, to } => {
                counter!("sightline_indexer_lost_results_total").increment(u64::try_from(to - from).unwrap_or(0));
                tracing::error!(
                    partition,
                    from,
                    to,
                    "retention dropped results before they were indexed; raise the topic's retention or add indexers"
                );
                true
            }
        })
    }

    /// Sends the alerts that were not sent yet.
    fn send_alerts(&mut self) {
        let documents = self.batch.documents.get(self.alerted..).unwrap_or_default();
        let alerts = documents.iter().flat_map(|document| &document.alerts);
        self.alerts.extend(self.publisher.begin(alerts));
        (self.alerted, self.unsent_steps) = (self.batch.documents.len(), 0);
    }

    /// Hands over the batch, however small it is. Returns `false` when the receiver is gone.
    async fn flush(&mut self) -> bool {
        if self.batch.deliveries.is_empty() {
            return true;
        }
        let permit = write_permit(self.due, true, &self.write_permits).await;
        self.hand_over(permit).await
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch has far less than 2^52 results")]
    async fn hand_over(&mut self, permit: Option<WritePermit>) -> bool {
        self.send_alerts();
        (self.due, self.alerted) = (None, 0);
        let (batch, alerts) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.alerts));
        histogram!("sightline_indexer_batch_results").record(batch.deliveries.len() as f64);
        let Some(permit) = permit else { return false };
        self.batches.send(ReadyBatch { batch, alerts, permit }).await.is_ok()
    }
}

/// Waits until a batch is full or due, and then for its permit. Never resolves for an empty batch, which has no `due`.
async fn write_permit(due: Option<Instant>, full: bool, permits: &Arc<Semaphore>) -> Option<WritePermit> {
    match due {
        None => std::future::pending().await,
        Some(_) if full => {}
        Some(due) => tokio::time::sleep_until(due).await,
    }
    Arc::clone(permits).acquire_owned().await.ok()
}
