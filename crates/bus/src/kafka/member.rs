//! A member of a consumer group on its own thread: it polls Kafka, follows rebalances and commits.
//!
//! ```text
//! brokers ──poll──▶ this thread ──push──▶ MemberQueue ──take──▶ consumer ──finished──▶ MemberQueue
//!                       └──── commits the lowest unfinished offsets, every half second ◀──┘
//! ```
//!
//! The thread never waits for a message to be finished: a full queue pauses the partitions while
//! polling continues, so a slow consumer does not lose its partitions. A revoked partition is
//! released only when none of its messages is in flight or [`ConsumerOptions::drain`] is over.
//! librdkafka retries while brokers are unreachable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::context::{bus_error, log};
use super::delivery::delivery;
use super::member_queue::{MemberQueue, Stop};
use crate::seam::{BusError, ConsumerOptions, Delivery, Incoming, Position};

/// Time limit of a poll, and the longest delay until a stop takes effect.
const POLL: Duration = Duration::from_millis(50);
/// Time limit of a poll while partitions are paused or drained.
const SHORT_POLL: Duration = Duration::from_millis(5);
/// Time for which the queue is full before partitions are paused. Pausing discards prefetched messages, so a short wait is cheaper.
const FULL_BEFORE_PAUSE: Duration = Duration::from_secs(1);
/// Pause between commits.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// Time limit for a query about an assigned partition.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// A rebalance decision of the group, received during a poll and carried out after it.
enum Decision {
    Assign(Vec<i32>),
    Revoke { partitions: Vec<i32>, lost: bool },
}

/// Callbacks of librdkafka, called while the thread polls.
pub struct MemberContext {
    queue: Arc<MemberQueue>,
    decisions: Sender<Decision>,
    /// Set when the member leaves: then decisions are confirmed at once and not carried out.
    leaving: AtomicBool,
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.leaving.load(Ordering::Relaxed) {
            let rewound =
                if assigned { consumer.incremental_assign(list) } else { consumer.incremental_unassign(list) };
            if let Err(error) = rewound {
                tracing::debug!(%error, "partitions could not be released while leaving");
            }
            return;
        }
        let partitions =
            list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
        let decision = if assigned {
            Decision::Assign(partitions)
        } else {
            Decision::Revoke { partitions, lost: consumer.assignment_lost() }
        };
        // The receiver lives in the thread that polls.
        drop(self.decisions.send(decision));
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "a commit failed; the next one repeats it");
            return;
        }
        for element in offsets.elements() {
            if let (Ok(()), Offset::Offset(offset)) = (element.error(), element.offset()) {
                self.queue.committed(Position { partition: element.partition(), offset });
            }
        }
    }
}

/// The state of a member's thread.
pub struct Member {
    config: ClientConfig,
    consumer: BaseConsumer<MemberContext>,
    decisions: Receiver<Decision>,
    queue: Arc<MemberQueue>,
    topic: String,
    options: ConsumerOptions,
    /// Assigned partitions, each with its next offset where that is known.
    owned: BTreeMap<i32, Option<i64>>,
    /// Revoked partitions that wait for their messages in flight, with their deadlines.
    draining: Vec<(Vec<i32>, Instant)>,
    /// The group removed this member; it is about to rejoin.
    lost: bool,
    full_since: Option<Instant>,
    paused: bool,
    last_commit: Instant,
}

/// Joins the group. The receiver returns its decisions.
fn join(
    config: &ClientConfig,
    topic: &str,
    queue: &Arc<MemberQueue>,
) -> KafkaResult<(BaseConsumer<MemberContext>, Receiver<Decision>)> {
    let (sender, decisions) = channel();
    let context = MemberContext { queue: queue.clone(), decisions: sender, leaving: AtomicBool::new(false) };
    let consumer = BaseConsumer::from_config_and_context(config, context)?;
    consumer.subscribe(&[topic])?;
    Ok((consumer, decisions))
}

impl Member {
    /// Joins the group.
    pub fn join(
        config: &ClientConfig,
        topic: &str,
        options: ConsumerOptions,
        queue: Arc<MemberQueue>,
    ) -> KafkaResult<Self> {
        let (consumer, decisions) = join(config, topic, &queue)?;
        Ok(Self {
            config: config.clone(),
            consumer,
            decisions,
            queue,
            topic: topic.to_owned(),
            options,
            owned: BTreeMap::new(),
            draining: Vec::new(),
            lost: false,
            full_since: None,
            paused: false,
            last_commit: Instant::now(),
        })
    }

    /// Reads until it is requested to stop or fails, then leaves the group.
    pub fn run(mut self) {
        let mut outcome = self.read();
        while outcome.is_err() && self.was_fenced_by_own_commits() {
            outcome = self.rejoin().and_then(|()| self.read());
        }
        if outcome.is_ok() && self.queue.stopping() == Some(Stop::Drain) {
            self.drain_all();
        }
        self.commit_last(&self.all());
        self.queue.clear();
        self.confirm_open_decisions();
        let queue = self.queue.clone();
        drop(self);
        queue.end(outcome.err().unwrap_or(BusError::Closed));
    }

    /// When the group removes a member with an instance name, librdkafka sends its pending commits
    /// with the name alone. The brokers treat that as another process of this name and fence the
    /// member. If the group had not removed the member before, another process really fenced it.
    fn was_fenced_by_own_commits(&self) -> bool {
        let fenced = self.consumer.client().fatal_error();
        self.lost && fenced.is_some_and(|(code, _)| code == RDKafkaErrorCode::FencedInstanceId)
    }

    fn rejoin(&mut self) -> Result<(), BusError> {
        tracing::info!(topic = self.topic, "rejoining the group");
        let action = format!("consume topic {}", self.topic);
        let joined = join(&self.config, &self.topic, &self.queue).map_err(|error| bus_error(&action, &error))?;
        self.consumer.context().leaving.store(true, Ordering::Relaxed);
        (self.consumer, self.decisions) = joined;
        (self.lost, self.paused, self.full_since) = (false, false, None);
        Ok(())
    }

    fn read(&mut self) -> Result<(), BusError> {
        while self.queue.stopping().is_none() {
            self.follow_decisions();
            self.finish_draining();
            self.commit_when_due();
            if self.wait_while_full() {
                continue;
            }
            self.poll(if self.paused || !self.draining.is_empty() { SHORT_POLL } else { POLL })?;
        }
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), BusError> {
        let polled = self.consumer.poll(timeout).map(|polled| polled.map(|record| delivery(&record)));
        match polled {
            None => Ok(()),
            Some(Ok(delivery)) => {
                self.receive(delivery);
                Ok(())
            }
            Some(Err(error)) => match bus_error(&format!("consume topic {}", self.topic), &error) {
                // A topic is unknown for a moment while brokers start.
                fatal @ BusError::Fatal(_) if !is_unknown_topic(&error) => Err(fatal),
                unknown @ BusError::Fatal(_) => {
                    tracing::warn!(error = %unknown, "waiting for the topic");
                    Ok(())
                }
                // librdkafka has logged the cause.
                transient => {
                    tracing::debug!(error = %transient, "a transient error while consuming from Kafka");
                    Ok(())
                }
            },
        }
    }

    fn receive(&mut self, delivery: Delivery) {
        let Position { partition, offset } = delivery.position;
        // A message of a revoked partition was still in transit.
        let Some(next) = self.owned.get_mut(&partition) else { return };
        if let Some(expected) = next.replace(offset + 1).filter(|expected| *expected < offset) {
            self.report_gap(partition, expected, offset);
        }
        self.queue.push(delivery);
    }

    /// Reports a gap where retention dropped messages before `offset`. Offsets may also be unused.
    fn report_gap(&self, partition: i32, expected: i64, offset: i64) {
        let earliest = match self.consumer.fetch_watermarks(&self.topic, partition, QUERY_TIMEOUT) {
            Ok((earliest, _)) => earliest,
            Err(error) => {
                tracing::warn!(%error, partition, "cannot tell whether retention dropped messages; reporting that it did");
                offset
            }
        };
        if earliest > expected {
            self.queue.push_event(Incoming::Gap { partition, from: expected, to: earliest.min(offset) });
        }
    }

    fn follow_decisions(&mut self) {
        while let Ok(decision) = self.decisions.try_recv() {
            self.resume();
            match decision {
                Decision::Assign(partitions) => self.assign(&partitions),
                Decision::Revoke { partitions, lost } => self.revoke(partitions, lost),
            }
        }
    }

    fn assign(&mut self, partitions: &[i32]) {
        tracing::info!(topic = self.topic, ?partitions, "partitions assigned");
        self.lost = false;
        if !partitions.is_empty() {
            self.queue.push_event(Incoming::Assigned(partitions.to_vec()));
        }
        let starts = self.starts(partitions).unwrap_or_else(|error| {
            tracing::warn!(%error, topic = self.topic, "cannot read the group's offsets yet; librdkafka reads them later");
            vec![None; partitions.len()]
        });
        let mut offsets = TopicPartitionList::with_capacity(partitions.len());
        for (&partition, start) in partitions.iter().zip(starts) {
            self.owned.insert(partition, start);
            let offset = start.map_or(Offset::Stored, Offset::Offset);
            if let Err(error) = offsets.add_partition_offset(&self.topic, partition, offset) {
                tracing::error!(%error, partition, "an offset was not accepted");
            }
        }
        self.accept(&offsets);
    }

    /// The start offset of each partition; `None` if the brokers did not return the committed offset.
    fn starts(&self, partitions: &[i32]) -> KafkaResult<Vec<Option<i64>>> {
        let committed = self.consumer.committed_offsets(self.list(partitions), QUERY_TIMEOUT)?;
        let start = |&partition: &i32| match committed.find_partition(&self.topic, partition) {
            Some(found) if found.error().is_ok() => self.start(partition, found.offset()).map(Some),
            _ => Ok(None),
        };
        partitions.iter().map(start).collect()
    }

    /// The start offset of a partition. Reports a gap if retention has dropped messages that the group has not consumed.
    fn start(&self, partition: i32, committed: Offset) -> KafkaResult<i64> {
        let (earliest, end) = self.consumer.fetch_watermarks(&self.topic, partition, QUERY_TIMEOUT)?;
        Ok(match committed {
            Offset::Offset(next) if next < earliest => {
                self.queue.push_event(Incoming::Gap { partition, from: next, to: earliest });
                earliest
            }
            Offset::Offset(next) if next <= end => next,
            Offset::Offset(next) => {
                tracing::warn!(
                    topic = self.topic,
                    partition,
                    next,
                    end,
                    "the topic was created again; starting at its beginning"
                );
                earliest
            }
            _ => earliest,
        })
    }

    /// librdkafka waits for a confirmation of each decision, and does not close a consumer before that.
    fn confirm_open_decisions(&mut self) {
        for (partitions, _) in std::mem::take(&mut self.draining) {
            self.unassign(&partitions);
        }
        while let Ok(decision) = self.decisions.try_recv() {
            match decision {
                Decision::Assign(partitions) => self.accept(&self.list(&partitions)),
                Decision::Revoke { partitions, .. } => self.unassign(&partitions),
            }
        }
    }

    fn accept(&self, offsets: &TopicPartitionList) {
        if let Err(error) = self.consumer.incremental_assign(offsets) {
            tracing::error!(%error, topic = self.topic, "the assignment was not accepted");
        }
    }

    fn revoke(&mut self, partitions: Vec<i32>, lost: bool) {
        tracing::info!(topic = self.topic, ?partitions, lost, "partitions revoked");
        self.owned.retain(|partition, _| !partitions.contains(partition));
        if !partitions.is_empty() {
            self.queue.revoke(&partitions);
        }
        if lost {
            self.lost = true;
            // The partitions belong to another member already: a commit would be refused.
            self.queue.forget(&partitions);
            self.unassign(&partitions);
        } else {
            self.draining.push((partitions, Instant::now() + self.options.drain));
        }
    }

    fn finish_draining(&mut self) {
        for (partitions, deadline) in std::mem::take(&mut self.draining) {
            let in_flight = self.queue.wait_until_finished(&partitions, Duration::ZERO);
            if in_flight > 0 && Instant::now() < deadline {
                self.draining.push((partitions, deadline));
                continue;
            }
            if in_flight > 0 {
                tracing::warn!(in_flight, ?partitions, "revoked with messages in flight; they will be delivered again");
            }
            self.commit_last(&partitions);
            self.unassign(&partitions);
        }
    }

    /// Waits until no message is in flight, without delivering more. It continues to poll, to stay in the group.
    fn drain_all(&mut self) {
        self.queue.clear();
        let deadline = Instant::now() + self.options.drain;
        self.pause();
        loop {
            let in_flight = self.queue.wait_until_finished(&self.all(), POLL);
            let overruled = self.queue.stopping() == Some(Stop::Leave);
            if in_flight == 0 || overruled || Instant::now() >= deadline {
                if in_flight > 0 {
                    tracing::warn!(in_flight, "stopped with messages in flight; they will be delivered again");
                }
                return;
            }
            drop(self.consumer.poll(Duration::ZERO));
            while let Ok(decision) = self.decisions.try_recv() {
                match decision {
                    // Accepted only to be released: their messages are discarded.
                    Decision::Assign(partitions) => self.accept(&self.list(&partitions)),
                    Decision::Revoke { partitions, lost } => self.revoke(partitions, lost),
                }
            }
            self.finish_draining();
            self.commit_when_due();
        }
    }

    /// Commits the finished messages of these partitions for the last time, and removes the partitions.
    fn commit_last(&self, partitions: &[i32]) {
        let last = self.queue.forget(partitions);
        if last.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.commit(&self.offsets(&last), CommitMode::Sync) {
            tracing::warn!(%error, "the last commit failed; some messages will be delivered again");
        }
    }

    fn unassign(&self, partitions: &[i32]) {
        if let Err(error) = self.consumer.incremental_unassign(&self.list(partitions)) {
            tracing::warn!(%error, ?partitions, "partitions could not be released");
        }
    }

    fn commit_when_due(&mut self) {
        if self.last_commit.elapsed() < COMMIT_EVERY {
            return;
        }
        self.last_commit = Instant::now();
        let uncommitted = self.queue.uncommitted();
        if uncommitted.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.commit(&self.offsets(&uncommitted), CommitMode::Async) {
            tracing::debug!(%error, "a commit was not accepted; the next one repeats it");
        }
    }

    /// Returns `true` after it has waited for a full queue. Pauses the partitions when the queue stays full, until it is half
    /// empty.
    fn wait_while_full(&mut self) -> bool {
        if self.paused {
            if self.queue.is_half_empty() {
                self.resume();
            }
            return false;
        }
        if !self.queue.is_full() {
            self.full_since = None;
            return false;
        }
        let since = *self.full_since.get_or_insert_with(Instant::now);
        if since.elapsed() < FULL_BEFORE_PAUSE {
            self.queue.wait_for_room(POLL);
            return true;
        }
        self.pause();
        false
    }

    fn pause(&mut self) {
        if !self.paused {
            self.paused = true;
            self.log_failure("pause", self.consumer.pause(&self.owned_list()));
        }
    }

    fn resume(&mut self) {
        if self.paused {
            self.paused = false;
            self.full_since = None;
            self.log_failure("resume", self.consumer.resume(&self.owned_list()));
        }
    }

    fn log_failure(&self, what: &str, outcome: KafkaResult<()>) {
        if let Err(error) = outcome {
            tracing::warn!(%error, topic = self.topic, "could not {what} partitions");
        }
    }

    /// All partitions of this member, including those being revoked.
    fn all(&self) -> Vec<i32> {
        let going = self.draining.iter().flat_map(|(partitions, _)| partitions);
        self.owned.keys().chain(going).copied().collect()
    }

    fn owned_list(&self) -> TopicPartitionList {
        self.list(&self.owned.keys().copied().collect::<Vec<_>>())
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    fn offsets(&self, positions: &[Position]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            // Only negative offsets are refused, and there are none.
            if list.add_partition_offset(&self.topic, position.partition, Offset::Offset(position.offset)).is_err() {
                tracing::error!(?position, "an offset was not accepted");
            }
        }
        list
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Dropping the consumer, which follows, leaves the group; the context confirms further decisions.
        self.consumer.context().leaving.store(true, Ordering::Relaxed);
    }
}

fn is_unknown_topic(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}
