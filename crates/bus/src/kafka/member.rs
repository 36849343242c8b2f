//! A member of a group, on a thread of its own: it polls Kafka, follows the group's rebalancing and commits.
//!
//! ```text
//! brokers ──poll──▶ this thread ──put──▶ Desk ──take──▶ whoever works ──finished──▶ Desk
//!                       └──── commits what the desk's ledger allows, every half second ◀──┘
//! ```
//!
//! The thread never waits for the work itself: a full desk pauses the partitions while polling goes on, so slow work is no
//! reason to lose them. A partition that is taken away goes back only when what is in hand is finished or
//! [`ConsumerOptions::drain`] is over. Whatever the brokers do for a while, librdkafka tries again.

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
use super::desk::{Desk, Stop};
use crate::seam::{BusError, ConsumerOptions, Delivery, Incoming, Position};

/// How long a poll waits for a message; also how soon a wish to stop is seen.
const POLL: Duration = Duration::from_millis(50);
/// While something is awaited from the workers, polls are short.
const BRIEF: Duration = Duration::from_millis(5);
/// How long a full desk only stops the polling. Pausing throws away what was fetched ahead, so a short wait is cheaper.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often finished work is committed.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How long a question on assignment may take.
const ASK: Duration = Duration::from_secs(5);

/// What the group decided, noted while polling and acted on right after.
enum Decision {
    Assign(Vec<i32>),
    Revoke { partitions: Vec<i32>, lost: bool },
}

/// What librdkafka calls while the thread polls.
pub struct MemberContext {
    desk: Arc<Desk>,
    decisions: Sender<Decision>,
    /// Leaving: nothing is noted any more, partitions are handed back at once.
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
            let answered =
                if assigned { consumer.incremental_assign(list) } else { consumer.incremental_unassign(list) };
            if let Err(error) = answered {
                tracing::debug!(%error, "partitions could not be handed back while leaving");
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
        // The receiver lives as long as the thread that polls.
        drop(self.decisions.send(decision));
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "a commit was not taken; the next one repeats it");
            return;
        }
        for element in offsets.elements() {
            if let (Ok(()), Offset::Offset(offset)) = (element.error(), element.offset()) {
                self.desk.committed(Position { partition: element.partition(), offset });
            }
        }
    }
}

/// The thread's own side of a member.
pub struct Member {
    config: ClientConfig,
    consumer: BaseConsumer<MemberContext>,
    decisions: Receiver<Decision>,
    desk: Arc<Desk>,
    topic: String,
    options: ConsumerOptions,
    /// The partitions that are this member's, with the offset that should come next where it is known.
    owned: BTreeMap<i32, Option<i64>>,
    /// Partitions that go back when their work is done, and when it is too late for that.
    draining: Vec<(Vec<i32>, Instant)>,
    /// The group gave this member up; it is about to join anew.
    lost: bool,
    full_since: Option<Instant>,
    paused: bool,
    last_commit: Instant,
}

/// Joins the group; what it decides comes out of the second.
fn join(
    config: &ClientConfig,
    topic: &str,
    desk: &Arc<Desk>,
) -> KafkaResult<(BaseConsumer<MemberContext>, Receiver<Decision>)> {
    let (sender, decisions) = channel();
    let context = MemberContext { desk: desk.clone(), decisions: sender, leaving: AtomicBool::new(false) };
    let consumer = BaseConsumer::from_config_and_context(config, context)?;
    consumer.subscribe(&[topic])?;
    Ok((consumer, decisions))
}

impl Member {
    /// Joins the group.
    pub fn join(config: &ClientConfig, topic: &str, options: ConsumerOptions, desk: Arc<Desk>) -> KafkaResult<Self> {
        let (consumer, decisions) = join(config, topic, &desk)?;
        Ok(Self {
            config: config.clone(),
            consumer,
            decisions,
            desk,
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

    /// Works until it shall stop or cannot go on; then leaves the group.
    pub fn run(mut self) {
        let mut outcome = self.work();
        while outcome.is_err() && self.is_fenced_by_itself() {
            outcome = self.join_anew().and_then(|()| self.work());
        }
        if outcome.is_ok() && self.desk.stopping() == Some(Stop::Drain) {
            self.drain_all();
        }
        self.hand_in(&self.all());
        self.desk.clear();
        self.answer_what_is_open();
        let desk = self.desk.clone();
        drop(self);
        desk.end(outcome.err().unwrap_or(BusError::Closed));
    }

    /// After the group gave up a member with a name, librdkafka sends the commits that still wait under the name alone, and the
    /// brokers take that for another process of this name. Where it was not given up before, there is one.
    fn is_fenced_by_itself(&self) -> bool {
        let fenced = self.consumer.client().fatal_error();
        self.lost && fenced.is_some_and(|(code, _)| code == RDKafkaErrorCode::FencedInstanceId)
    }

    fn join_anew(&mut self) -> Result<(), BusError> {
        tracing::info!(topic = self.topic, "joining the group anew");
        let doing = format!("consume topic {}", self.topic);
        let joined = join(&self.config, &self.topic, &self.desk).map_err(|error| bus_error(&doing, &error))?;
        self.consumer.context().leaving.store(true, Ordering::Relaxed);
        (self.consumer, self.decisions) = joined;
        (self.lost, self.paused, self.full_since) = (false, false, None);
        Ok(())
    }

    fn work(&mut self) -> Result<(), BusError> {
        while self.desk.stopping().is_none() {
            self.follow_the_group();
            self.finish_draining();
            self.commit_when_due();
            if self.hold_while_full() {
                continue;
            }
            self.poll(if self.paused || !self.draining.is_empty() { BRIEF } else { POLL })?;
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
                // What it is about is in librdkafka's log.
                passing => {
                    tracing::debug!(error = %passing, "consuming from Kafka falters");
                    Ok(())
                }
            },
        }
    }

    fn receive(&mut self, delivery: Delivery) {
        let Position { partition, offset } = delivery.position;
        // What is not ours any more was still on its way.
        let Some(next) = self.owned.get_mut(&partition) else { return };
        if let Some(expected) = next.replace(offset + 1).filter(|expected| *expected < offset) {
            self.explain_jump(partition, expected, offset);
        }
        self.desk.put(delivery);
    }

    /// Retention may have dropped what was expected before `offset`; offsets may also just be unused.
    fn explain_jump(&self, partition: i32, expected: i64, offset: i64) {
        let earliest = match self.consumer.fetch_watermarks(&self.topic, partition, ASK) {
            Ok((earliest, _)) => earliest,
            Err(error) => {
                tracing::warn!(%error, partition, "cannot tell whether retention dropped messages; taking it that it did");
                offset
            }
        };
        if earliest > expected {
            self.desk.tell(Incoming::Gap { partition, from: expected, to: earliest.min(offset) });
        }
    }

    fn follow_the_group(&mut self) {
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
            self.desk.tell(Incoming::Assigned(partitions.to_vec()));
        }
        let starts = self.starts(partitions).unwrap_or_else(|error| {
            tracing::warn!(%error, topic = self.topic, "cannot read the group's offsets yet; librdkafka will");
            vec![None; partitions.len()]
        });
        let mut places = TopicPartitionList::with_capacity(partitions.len());
        for (&partition, start) in partitions.iter().zip(starts) {
            self.owned.insert(partition, start);
            let place = start.map_or(Offset::Stored, Offset::Offset);
            if let Err(error) = places.add_partition_offset(&self.topic, partition, place) {
                tracing::error!(%error, partition, "an offset was not accepted");
            }
        }
        self.accept(&places);
    }

    /// Where to begin in each partition, where the brokers say.
    fn starts(&self, partitions: &[i32]) -> KafkaResult<Vec<Option<i64>>> {
        let committed = self.consumer.committed_offsets(self.list(partitions), ASK)?;
        let start = |&partition: &i32| match committed.find_partition(&self.topic, partition) {
            Some(found) if found.error().is_ok() => self.start(partition, found.offset()).map(Some),
            _ => Ok(None),
        };
        partitions.iter().map(start).collect()
    }

    /// Where to begin in a partition; tells when retention was faster than the group.
    fn start(&self, partition: i32, committed: Offset) -> KafkaResult<i64> {
        let (earliest, end) = self.consumer.fetch_watermarks(&self.topic, partition, ASK)?;
        Ok(match committed {
            Offset::Offset(next) if next < earliest => {
                self.desk.tell(Incoming::Gap { partition, from: next, to: earliest });
                earliest
            }
            Offset::Offset(next) if next <= end => next,
            Offset::Offset(next) => {
                tracing::warn!(topic = self.topic, partition, next, end, "the topic was made anew; beginning anew");
                earliest
            }
            _ => earliest,
        })
    }

    /// librdkafka waits for an answer to each decision, and would never let go of a member that owes one.
    fn answer_what_is_open(&mut self) {
        for (partitions, _) in std::mem::take(&mut self.draining) {
            self.hand_back(&partitions);
        }
        while let Ok(decision) = self.decisions.try_recv() {
            match decision {
                Decision::Assign(partitions) => self.accept(&self.list(&partitions)),
                Decision::Revoke { partitions, .. } => self.hand_back(&partitions),
            }
        }
    }

    fn accept(&self, places: &TopicPartitionList) {
        if let Err(error) = self.consumer.incremental_assign(places) {
            tracing::error!(%error, topic = self.topic, "the assignment was not accepted");
        }
    }

    fn revoke(&mut self, partitions: Vec<i32>, lost: bool) {
        tracing::info!(topic = self.topic, ?partitions, lost, "partitions revoked");
        self.owned.retain(|partition, _| !partitions.contains(partition));
        if !partitions.is_empty() {
            self.desk.revoke(&partitions);
        }
        if lost {
            self.lost = true;
            // They are another member's already; a commit would be refused.
            self.desk.forget(&partitions);
            self.hand_back(&partitions);
        } else {
            self.draining.push((partitions, Instant::now() + self.options.drain));
        }
    }

    fn finish_draining(&mut self) {
        for (partitions, deadline) in std::mem::take(&mut self.draining) {
            let in_hand = self.desk.wait_for_work(&partitions, Duration::ZERO);
            if in_hand > 0 && Instant::now() < deadline {
                self.draining.push((partitions, deadline));
                continue;
            }
            if in_hand > 0 {
                tracing::warn!(in_hand, ?partitions, "revoked before its work was finished; it will be done again");
            }
            self.hand_in(&partitions);
            self.hand_back(&partitions);
        }
    }

    /// Waits for all work in hand, taking no more; polling goes on, for the group's sake.
    fn drain_all(&mut self) {
        self.desk.clear();
        let deadline = Instant::now() + self.options.drain;
        self.pause();
        loop {
            let in_hand = self.desk.wait_for_work(&self.all(), POLL);
            let overruled = self.desk.stopping() == Some(Stop::Leave);
            if in_hand == 0 || overruled || Instant::now() >= deadline {
                if in_hand > 0 {
                    tracing::warn!(in_hand, "stopped before its work was finished; it will be done again");
                }
                return;
            }
            drop(self.consumer.poll(Duration::ZERO));
            while let Ok(decision) = self.decisions.try_recv() {
                match decision {
                    // Taken only to be given back: what comes of them is thrown away.
                    Decision::Assign(partitions) => self.accept(&self.list(&partitions)),
                    Decision::Revoke { partitions, lost } => self.revoke(partitions, lost),
                }
            }
            self.finish_draining();
            self.commit_when_due();
        }
    }

    /// Commits what is finished of these partitions, for the last time, and forgets them.
    fn hand_in(&self, partitions: &[i32]) {
        let last = self.desk.forget(partitions);
        if last.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.commit(&self.offsets(&last), CommitMode::Sync) {
            tracing::warn!(%error, "the last commit was not taken; some work will be done again");
        }
    }

    fn hand_back(&self, partitions: &[i32]) {
        if let Err(error) = self.consumer.incremental_unassign(&self.list(partitions)) {
            tracing::warn!(%error, ?partitions, "partitions could not be handed back");
        }
    }

    fn commit_when_due(&mut self) {
        if self.last_commit.elapsed() < COMMIT_EVERY {
            return;
        }
        self.last_commit = Instant::now();
        let uncommitted = self.desk.uncommitted();
        if uncommitted.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.commit(&self.offsets(&uncommitted), CommitMode::Async) {
            tracing::debug!(%error, "a commit was not taken; the next one repeats it");
        }
    }

    /// Says whether the desk is full and polling can wait a little; pauses the partitions when that lasts, until there is room
    /// for many.
    fn hold_while_full(&mut self) -> bool {
        if self.paused {
            if self.desk.has_much_room() {
                self.resume();
            }
            return false;
        }
        if !self.desk.is_full() {
            self.full_since = None;
            return false;
        }
        let since = *self.full_since.get_or_insert_with(Instant::now);
        if since.elapsed() < PATIENCE {
            self.desk.wait_for_room(POLL);
            return true;
        }
        self.pause();
        false
    }

    fn pause(&mut self) {
        if !self.paused {
            self.paused = true;
            self.switch("pause", self.consumer.pause(&self.owned_list()));
        }
    }

    fn resume(&mut self) {
        if self.paused {
            self.paused = false;
            self.full_since = None;
            self.switch("resume", self.consumer.resume(&self.owned_list()));
        }
    }

    fn switch(&self, what: &str, outcome: KafkaResult<()>) {
        if let Err(error) = outcome {
            tracing::warn!(%error, topic = self.topic, "could not {what} partitions");
        }
    }

    /// The partitions that are this member's, those that go back included.
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
            // Only an offset below zero is refused, and the ledger has none.
            if list.add_partition_offset(&self.topic, position.partition, Offset::Offset(position.offset)).is_err() {
                tracing::error!(?position, "an offset was not accepted");
            }
        }
        list
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The consumer leaves the group when it is dropped, next; what the group still decides is answered by the context.
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
