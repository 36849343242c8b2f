//! The contract suite: the guarantees of the seam, as scenarios that every bus must pass. `contract_suite!` makes a test of each.
//!
//! Every scenario gets an empty [`TestLog`]. It opens one instance at a time, as the embedded log requires.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bus::{
    Bus, BusError, Consumer, ConsumerOptions, Delivery, Finisher, Incoming, Position, Progress, Range, RangeReader,
    Reader, ReaderItem, Start,
};
use bytes::Bytes;
use contracts::{Headers, Message, TopicRole};
use futures::future::try_join_all;
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::time::{sleep, timeout};

/// Time limit for each step, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The consumer group of the scenarios.
pub const GROUP: &str = "suite";

/// A log for one scenario: empty topics with three partitions (`alerts` has one).
#[async_trait]
pub trait TestLog: Send + Sync + 'static {
    /// Opens the log as in another process, with this limit on unacknowledged bytes. The previous instance is closed.
    async fn open_with_queue(&self, bytes: usize) -> Arc<dyn Bus>;

    /// A command that runs [`write_until_killed`] of this test binary on this log.
    fn writing_process(&self) -> Command;

    /// Opens the log with a large queue.
    async fn open(&self) -> Arc<dyn Bus> {
        self.open_with_queue(64 << 20).await
    }
}

/// Makes a test of every scenario. `$run` passes it a log; attributes in brackets go to each test.
macro_rules! contract_suite {
    ($run:path, $attributes:tt) => {
        contract_suite!(@each $run, $attributes:
            messages_arrive_as_they_were_sent
            messages_of_a_key_keep_their_order
            a_reader_starts_at_the_requested_position
            a_reader_waits_for_new_messages
            a_dropped_wait_loses_nothing
            acknowledged_messages_survive_kill_9
            unfinished_messages_are_delivered_again
            the_commit_is_the_lowest_unfinished_offset
            finished_messages_are_not_delivered_again
            closing_waits_for_messages_in_flight
            groups_are_independent
            a_full_queue_refuses_at_once_and_loses_nothing
            a_message_over_the_topics_limit_is_refused
            the_messages_in_flight_of_a_consumer_are_bounded
            the_bytes_in_flight_of_a_consumer_are_bounded
            ranges_are_the_offsets_of_each_partition
            ranges_are_read_from_the_first_uncommitted_to_their_end
            the_oldest_unconsumed_is_the_first_uncommitted
            progress_counts_finished_and_waiting_messages
            the_topic_id_survives_a_restart
            a_closed_bus_has_sent_its_queue_and_answers_closed
        );
    };
    (@each $run:path, $attributes:tt: $($scenario:ident)*) => {
        $(contract_suite!(@one $run, $attributes, $scenario);)*
    };
    (@one $run:path, [$($attribute:tt)*], $scenario:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $scenario() {
            $run($crate::suite::$scenario).await;
        }
    };
}

pub async fn messages_arrive_as_they_were_sent(log: impl TestLog) {
    let before = SystemTime::now() - Duration::from_secs(1);
    let mut headers = Headers::new().with("ce_id", "1").with("empty", "");
    headers.push("bytes", Bytes::from_static(&[0, 255, 10, 13]));
    let with_all = Message { key: Some("a key".into()), headers, value: Bytes::from_static(&[0, 1, 2, 255]) };
    let without_key = Message { key: None, headers: Headers::new(), value: Bytes::from_static(b"{}") };
    let without_value = Message { key: Some("k".into()), headers: Headers::new(), value: Bytes::new() };
    let messages = [with_all, without_key, without_value];

    let bus = log.open().await;
    // One partition, so that the order is that of the sends.
    let positions = send(&*bus, TopicRole::Alerts, messages.clone()).await;
    check(&*bus, before, &messages, &positions).await;
    bus.close().await.unwrap();
    // Once more, now from the disk and not from memory.
    let bus = log.open().await;
    check(&*bus, before, &messages, &positions).await;

    async fn check(bus: &dyn Bus, before: SystemTime, messages: &[Message], positions: &[Position]) {
        let read = read(&mut *bus.reader(TopicRole::Alerts, Start::Earliest).await.unwrap(), messages.len()).await;
        for ((delivery, message), position) in read.iter().zip(messages).zip(positions) {
            assert_eq!(delivery.message, *message);
            assert_eq!(delivery.position, *position);
            assert!(delivery.timestamp >= before && delivery.timestamp <= SystemTime::now() + Duration::from_secs(1));
        }
        assert!(read.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp));
    }
}

pub async fn messages_of_a_key_keep_their_order(log: impl TestLog) {
    let bus = log.open().await;
    let keys: Vec<String> = (0..10).map(|key| format!("key-{key}")).collect();
    let all = (0..100).flat_map(|number| keys.iter().map(move |key| message(key, number)));
    let positions = send(&*bus, TopicRole::Frames, all).await;
    let used: BTreeSet<i32> = positions.iter().map(|position| position.partition).collect();
    assert_eq!(used, BTreeSet::from([0, 1, 2]), "keys spread over the partitions");

    let mut member = TestMember::of(&*bus).await;
    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for delivery in member.take(1000).await {
        seen.entry(key(&delivery)).or_default().push(number(&delivery));
    }
    assert_eq!(seen.len(), 10);
    for (key, numbers) in seen {
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "{key}");
    }
}

pub async fn a_reader_starts_at_the_requested_position(log: impl TestLog) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Alerts, (0..10).map(|number| message("k", number))).await;
    // Kafka keeps milliseconds.
    sleep(Duration::from_millis(20)).await;
    let between = SystemTime::now();
    sleep(Duration::from_millis(20)).await;
    send(&*bus, TopicRole::Alerts, (10..20).map(|number| message("k", number))).await;
    check(&*bus, between).await;
    bus.close().await.unwrap();
    check(&*log.open().await, between).await;

    async fn check(bus: &dyn Bus, between: SystemTime) {
        for (start, first) in [
            (Start::Earliest, 0),
            (Start::Offset(0), 0),
            (Start::Offset(13), 13),
            (Start::Tail(1), 19),
            (Start::Tail(7), 13),
            (Start::Tail(1000), 0),
            (Start::Time(SystemTime::UNIX_EPOCH), 0),
            (Start::Time(between), 10),
        ] {
            let mut reader = bus.reader(TopicRole::Alerts, start).await.unwrap();
            let numbers: Vec<usize> = read(&mut *reader, 20 - first).await.iter().map(number).collect();
            assert_eq!(numbers, (first..20).collect::<Vec<_>>(), "{start:?}");
        }
    }
}

pub async fn a_reader_waits_for_new_messages(log: impl TestLog) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Alerts, (0..5).map(|number| message("k", number))).await;
    let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    let mut waiting = Vec::new();
    for start in [Start::Latest, Start::Tail(0), Start::Offset(5), Start::Time(in_an_hour)] {
        waiting.push((start, bus.reader(TopicRole::Alerts, start).await.unwrap()));
    }
    for (start, reader) in &mut waiting {
        let early = timeout(Duration::from_millis(50), reader.next()).await;
        assert!(early.is_err(), "{start:?}: {early:?}");
    }
    send(&*bus, TopicRole::Alerts, [message("k", 5)]).await;
    for (start, reader) in &mut waiting {
        assert_eq!(number(&read(&mut **reader, 1).await[0]), 5, "{start:?}");
    }
}

pub async fn a_dropped_wait_loses_nothing(log: impl TestLog) {
    let bus = log.open().await;
    let mut member = TestMember::of(&*bus).await;
    let sending = {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move { send(&*bus, TopicRole::Frames, (0..300).map(|number| message("k", number))).await })
    };
    let mut numbers = Vec::new();
    let deadline = Instant::now() + TIMEOUT;
    while numbers.len() < 300 {
        assert!(Instant::now() < deadline, "{} of 300 arrived", numbers.len());
        // Repeatedly dropped at its first pending await.
        match futures::FutureExt::now_or_never(member.consumer.next()).transpose().unwrap() {
            Some(Incoming::Delivery(delivery)) => {
                numbers.push(number(&delivery));
                member.finish([&delivery]);
            }
            Some(_) => {}
            None => sleep(Duration::from_millis(1)).await,
        }
    }
    sending.await.unwrap();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
}

/// The process that is killed: sends numbered messages, some dozens at once, and prints each acknowledged number.
pub async fn write_until_killed(bus: Arc<dyn Bus>) {
    let producer = bus.producer();
    let mut unacknowledged = FuturesOrdered::new();
    for number in 0_usize.. {
        let acknowledged =
            producer.send(TopicRole::Frames, numbered(&format!("key-{}", number % 7), number, 3000)).unwrap();
        unacknowledged.push_back(async move { acknowledged.await.map(|_| number) });
        if unacknowledged.len() >= 50 {
            let number = unacknowledged.next().await.unwrap().unwrap();
            writeln!(std::io::stdout().lock(), "acknowledged {number}").unwrap();
        }
    }
}

pub async fn acknowledged_messages_survive_kill_9(log: impl TestLog) {
    // Creates the log for the process.
    log.open().await.close().await.unwrap();
    for round in 1..=3 {
        let mut process = log.writing_process().stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut acknowledged = BTreeSet::new();
        for line in lines {
            // The test harness may write before the number on its line.
            let line = line.unwrap();
            acknowledged.extend(line.rsplit_once("acknowledged ").map(|(_, number)| number.parse::<usize>().unwrap()));
            if acknowledged.len() == 500 * round {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        assert!(acknowledged.len() >= 500 * round, "the process ended by itself after {}", acknowledged.len());

        let bus = log.open().await;
        let there: usize = bus.ranges(TopicRole::Frames).await.unwrap().iter().map(length).sum();
        let mut reader = bus.reader(TopicRole::Frames, Start::Earliest).await.unwrap();
        // Each round's process counts from 0; the last round starts at the last 0 of a key.
        let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for delivery in read(&mut *reader, there).await {
            let numbers = by_key.entry(key(&delivery)).or_default();
            if number(&delivery) < 7 {
                numbers.clear();
            }
            numbers.push(number(&delivery));
        }
        for (key, numbers) in &by_key {
            assert!(
                numbers.windows(2).all(|pair| pair[1] == pair[0] + 7),
                "{key}: once each and in order: {numbers:?}"
            );
        }
        let found: BTreeSet<usize> = by_key.into_values().flatten().collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
        drop(reader);
        bus.close().await.unwrap();
    }
}

pub async fn unfinished_messages_are_delivered_again(log: impl TestLog) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..20).map(|number| message("k", number))).await;
    let mut first = TestMember::of(&*bus).await;
    let taken = first.take(20).await;
    first.finish(&taken[..5]);
    // A call of `finished` after the member was dropped is ignored.
    let finisher = first.consumer.finisher();
    drop(first);
    taken[5..].iter().for_each(|delivery| finisher.finished(delivery.position));

    let mut second = TestMember::of(&*bus).await;
    let again = numbers(&second.take(15).await);
    assert_eq!(again, (5..20).collect::<Vec<_>>());
    drop(second);
    bus.close().await.unwrap();

    let bus = log.open().await;
    let mut third = TestMember::of(&*bus).await;
    assert_eq!(numbers(&third.take(15).await), (5..20).collect::<Vec<_>>());
}

pub async fn the_commit_is_the_lowest_unfinished_offset(log: impl TestLog) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..10).map(|number| message("k", number))).await;
    let mut member =
        TestMember::with(&*bus, GROUP, ConsumerOptions { drain: Duration::ZERO, ..Default::default() }).await;
    let taken = member.take(10).await;
    for done in [9, 0, 5, 4, 1, 3] {
        member.finish([&taken[done]]);
    }
    member.consumer.close().await.unwrap();
    bus.close().await.unwrap();

    let bus = log.open().await;
    let mut member = TestMember::of(&*bus).await;
    assert_eq!(numbers(&member.take(8).await), (2..10).collect::<Vec<_>>());
}

pub async fn finished_messages_are_not_delivered_again(log: impl TestLog) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..100).map(|number| message(&format!("key-{number}"), number))).await;
    let mut member = TestMember::of(&*bus).await;
    let taken = member.take(100).await;
    member.finish(taken.iter().rev());
    member.consumer.close().await.unwrap();
    bus.close().await.unwrap();

    let bus = log.open().await;
    assert_eq!(bus.oldest_unconsumed(TopicRole::Frames, GROUP).await.unwrap(), None);
    send(&*bus, TopicRole::Frames, [message("key-1", 100)]).await;
    let mut member = TestMember::of(&*bus).await;
    assert_eq!(numbers(&member.take(1).await), [100]);
}

pub async fn closing_waits_for_messages_in_flight(log: impl TestLog) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..4).map(|number| message("k", number))).await;
    let mut member = TestMember::of(&*bus).await;
    let taken = member.take(2).await;
    let finisher = member.consumer.finisher();
    let mut closing = tokio::spawn(member.consumer.close());
    let early = timeout(Duration::from_millis(300), &mut closing).await;
    assert!(early.is_err(), "closed with messages in flight");
    taken.iter().for_each(|delivery| finisher.finished(delivery.position));
    timeout(TIMEOUT, closing).await.unwrap().unwrap().unwrap();

    let mut next = TestMember::of(&*bus).await;
    assert_eq!(numbers(&next.take(2).await), [2, 3]);
}

pub async fn groups_are_independent(log: impl TestLog) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..10).map(|number| message("k", number))).await;
    let mut one = TestMember::of(&*bus).await;
    let taken = one.take(10).await;
    one.finish(&taken);
    one.consumer.close().await.unwrap();
    // A new group begins at the earliest.
    let mut other = TestMember::with(&*bus, "another", ConsumerOptions::default()).await;
    assert_eq!(numbers(&other.take(10).await), (0..10).collect::<Vec<_>>());
}

pub async fn a_full_queue_refuses_at_once_and_loses_nothing(log: impl TestLog) {
    let bus = log.open_with_queue(300_000).await;
    let producer = bus.producer();
    let image = numbered("k", 0, 70_000);
    let mut taken = Vec::new();
    let refused = loop {
        match producer.send(TopicRole::Frames, image.clone()) {
            Ok(acknowledged) => taken.push(acknowledged),
            Err(refused) => break refused,
        }
        assert!(taken.len() < 100_000, "the queue grows without bound");
    };
    assert!(matches!(refused, BusError::QueueFull), "{refused:?}");
    assert!(refused.is_transient());
    let count = taken.len();
    timeout(TIMEOUT, try_join_all(taken)).await.unwrap().unwrap();
    // The queue accepts messages again, possibly a moment after the acknowledgements: Kafka's
    // client frees the space of a batch after all its acknowledgements. The refused message is not
    // on the log.
    let deadline = Instant::now() + TIMEOUT;
    let last = loop {
        match producer.send(TopicRole::Frames, image.clone()) {
            Err(BusError::QueueFull) if Instant::now() < deadline => sleep(Duration::from_millis(1)).await,
            sent => break sent.unwrap(),
        }
    };
    timeout(TIMEOUT, last).await.unwrap().unwrap();
    let there: usize = bus.ranges(TopicRole::Frames).await.unwrap().iter().map(length).sum();
    assert_eq!(there, count + 1);
}

pub async fn a_message_over_the_topics_limit_is_refused(log: impl TestLog) {
    let bus = log.open().await;
    let large: Vec<Message> = (0..5).map(|number| numbered("k", number, 1 << 20)).collect();
    send(&*bus, TopicRole::Frames, large.clone()).await;
    let limit = contracts::Topics::parse(contracts::topics::DEFAULT).unwrap().get(TopicRole::Frames).max_message_bytes;
    let refused = bus.producer().send(TopicRole::Frames, numbered("k", 5, limit + 1)).err().unwrap();
    assert!(matches!(refused, BusError::TooLarge { limit: reported, .. } if reported == limit), "{refused:?}");
    assert!(!refused.is_transient());

    let mut member = TestMember::of(&*bus).await;
    let came: Vec<Message> = member.take(5).await.into_iter().map(|delivery| delivery.message).collect();
    assert!(came == large, "the bytes came back changed");
}

pub async fn the_messages_in_flight_of_a_consumer_are_bounded(log: impl TestLog) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..50).map(|number| message("k", number))).await;
    let mut member = TestMember::with(&*bus, GROUP, ConsumerOptions { max_in_flight: 3, ..Default::default() }).await;
    let mut in_flight = member.take(3).await;
    assert!(member.nothing_arrives().await);
    for expected in 0..50 {
        let done = in_flight.remove(0);
        assert_eq!(number(&done), expected);
        member.finish([&done]);
        if expected + 3 < 50 {
            in_flight.extend(member.take(1).await);
        }
    }
}

pub async fn the_bytes_in_flight_of_a_consumer_are_bounded(log: impl TestLog) {
    let bus = log.open().await;
    let sizes = [60_000, 30_000, 60_000, 200_000, 10];
    let messages = sizes.iter().enumerate().map(|(number, size)| numbered("k", number, *size));
    send(&*bus, TopicRole::Frames, messages).await;
    let options = ConsumerOptions { max_in_flight_bytes: 100_000, ..Default::default() };
    let mut member = TestMember::with(&*bus, GROUP, options).await;
    let in_flight = member.take(2).await;
    assert!(member.nothing_arrives().await, "90,000 of 100,000 bytes are in flight");
    member.finish(&in_flight);
    let third = member.take(1).await;
    assert!(member.nothing_arrives().await, "the fourth is over the limit and one is in flight");
    member.finish(&third);
    // It is delivered when nothing else is in flight.
    let fourth = member.take(1).await;
    assert!(member.nothing_arrives().await);
    member.finish(&fourth);
    assert_eq!(numbers(&member.take(1).await), [4]);
}

pub async fn ranges_are_the_offsets_of_each_partition(log: impl TestLog) {
    let bus = log.open().await;
    let empty = |partition| Range { partition, earliest: 0, end: 0 };
    assert_eq!(bus.ranges(TopicRole::Frames).await.unwrap(), [empty(0), empty(1), empty(2)]);
    let positions =
        send(&*bus, TopicRole::Frames, (0..9).map(|number| message(&format!("key-{number}"), number))).await;
    let ends = |partition| positions.iter().filter(|position| position.partition == partition).count();
    let expected: Vec<_> = (0..3).map(|partition| Range { end: ends(partition) as i64, ..empty(partition) }).collect();
    assert_eq!(bus.ranges(TopicRole::Frames).await.unwrap(), expected);
    bus.close().await.unwrap();
    let bus = log.open().await;
    assert_eq!(bus.ranges(TopicRole::Frames).await.unwrap(), expected);
    bus.check().await.unwrap();
}

pub async fn the_oldest_unconsumed_is_the_first_uncommitted(log: impl TestLog) {
    let bus = log.open().await;
    let oldest = async || bus.oldest_unconsumed(TopicRole::Frames, GROUP).await.unwrap();
    assert_eq!(oldest().await, None);
    send(&*bus, TopicRole::Frames, [message("k", 0)]).await;
    sleep(Duration::from_millis(10)).await;
    send(&*bus, TopicRole::Frames, [message("k", 1)]).await;
    let at: Vec<SystemTime> = read(&mut *bus.reader(TopicRole::Frames, Start::Earliest).await.unwrap(), 2)
        .await
        .iter()
        .map(|d| d.timestamp)
        .collect();
    assert_eq!(oldest().await, Some(at[0]), "of a group that does not exist yet");

    let mut member = TestMember::of(&*bus).await;
    let taken = member.take(2).await;
    for (done, then) in [(0, Some(at[1])), (1, None)] {
        member.finish([&taken[done]]);
        let deadline = Instant::now() + TIMEOUT;
        while oldest().await != then {
            assert!(Instant::now() < deadline, "message {done} was never committed");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

pub async fn ranges_are_read_from_the_first_uncommitted_to_their_end(log: impl TestLog) {
    let bus = log.open().await;
    let keyed = |number: usize| message(&format!("key-{number}"), number);
    send(&*bus, TopicRole::Frames, (0..30).map(keyed)).await;
    let mut member = TestMember::of(&*bus).await;
    let taken = member.take(30).await;
    member.finish(&taken[..1]);
    drop(member);
    let committed = async || bus.progress(TopicRole::Frames, GROUP).await.unwrap().finished;
    while committed().await == 0 {
        sleep(Duration::from_millis(20)).await;
    }

    let ranges = bus.unconsumed(TopicRole::Frames, GROUP).await.unwrap();
    send(&*bus, TopicRole::Frames, (30..60).map(keyed)).await;
    let mut reader = RangeReader::open(&*bus, TopicRole::Frames, &ranges).await.unwrap();
    let mut read = vec![number(&taken[0])];
    while let Some(delivery) = timeout(TIMEOUT, reader.next()).await.expect("the end").unwrap() {
        read.push(number(&delivery));
    }
    read.sort_unstable();
    assert_eq!(read, (0..30).collect::<Vec<_>>());
    let empty: Vec<_> = ranges.iter().map(|range| Range { earliest: range.end, ..*range }).collect();
    let mut reader = RangeReader::open(&*bus, TopicRole::Frames, &empty).await.unwrap();
    assert!(reader.next().await.unwrap().is_none());
}

pub async fn progress_counts_finished_and_waiting_messages(log: impl TestLog) {
    let bus = log.open().await;
    let progress = async || {
        let Progress { finished, waiting, .. } = bus.progress(TopicRole::Frames, GROUP).await.unwrap();
        (finished, waiting)
    };
    assert_eq!(progress().await, (0, 0));
    send(&*bus, TopicRole::Frames, (0..9).map(|number| message(&format!("key-{number}"), number))).await;
    assert_eq!(progress().await, (0, 9), "of a group that does not exist yet");

    let mut member = TestMember::of(&*bus).await;
    let taken = member.take(9).await;
    member.finish(&taken);
    let deadline = Instant::now() + TIMEOUT;
    while progress().await != (9, 0) {
        assert!(Instant::now() < deadline, "not all was committed");
        sleep(Duration::from_millis(20)).await;
    }
}

pub async fn the_topic_id_survives_a_restart(log: impl TestLog) {
    let bus = log.open().await;
    let frames = bus.topic_id(TopicRole::Frames).await.unwrap();
    let alerts = bus.topic_id(TopicRole::Alerts).await.unwrap();
    assert_ne!(frames, alerts);
    bus.close().await.unwrap();
    let bus = log.open().await;
    assert_eq!(bus.topic_id(TopicRole::Frames).await.unwrap(), frames);
    assert_eq!(bus.topic_id(TopicRole::Alerts).await.unwrap(), alerts);
}

pub async fn a_closed_bus_has_sent_its_queue_and_answers_closed(log: impl TestLog) {
    let bus = log.open().await;
    let producer = bus.producer();
    let sent: Vec<_> = (0..500).map(|number| producer.send(TopicRole::Frames, message("k", number)).unwrap()).collect();
    let mut reader = bus.reader(TopicRole::Alerts, Start::Earliest).await.unwrap();
    bus.close().await.unwrap();
    timeout(TIMEOUT, try_join_all(sent)).await.unwrap().unwrap();
    assert!(matches!(producer.send(TopicRole::Frames, message("k", 500)), Err(BusError::Closed)));
    assert!(matches!(bus.ranges(TopicRole::Frames).await, Err(BusError::Closed)));
    assert!(matches!(timeout(TIMEOUT, reader.next()).await.unwrap(), Err(BusError::Closed)));
    assert!(matches!(bus.check().await, Err(BusError::Closed)));
}

/// A group member whose waits time out.
pub struct TestMember {
    pub consumer: Box<dyn Consumer>,
    finisher: Arc<dyn Finisher>,
}

impl TestMember {
    pub async fn of(bus: &dyn Bus) -> Self {
        Self::with(bus, GROUP, ConsumerOptions::default()).await
    }

    /// Joins a group of `frames` and waits for its partitions.
    pub async fn with(bus: &dyn Bus, group: &str, options: ConsumerOptions) -> Self {
        let mut consumer = bus.consumer(TopicRole::Frames, group, options).await.unwrap();
        let first = timeout(TIMEOUT, consumer.next())
            .await
            .expect("no partitions were assigned within the time limit")
            .unwrap();
        assert!(matches!(&first, Incoming::Assigned(partitions) if partitions.len() == 3), "{first:?}");
        let finisher = consumer.finisher();
        Self { consumer, finisher }
    }

    /// Receives this many messages without finishing them.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            match timeout(TIMEOUT, self.consumer.next()).await {
                Ok(Ok(Incoming::Delivery(delivery))) => taken.push(delivery),
                other => panic!("{} of {count} messages arrived, then {other:?}", taken.len()),
            }
        }
        taken
    }

    pub fn finish<'a>(&self, deliveries: impl IntoIterator<Item = &'a Delivery>) {
        deliveries.into_iter().for_each(|delivery| self.finisher.finished(delivery.position));
    }

    async fn nothing_arrives(&mut self) -> bool {
        timeout(Duration::from_millis(500), self.consumer.next()).await.is_err()
    }
}

/// Sends all at once and waits for all acknowledgements.
pub async fn send(bus: &dyn Bus, role: TopicRole, messages: impl IntoIterator<Item = Message>) -> Vec<Position> {
    let producer = bus.producer();
    let sent: Vec<_> = messages.into_iter().map(|message| producer.send(role, message).unwrap()).collect();
    timeout(TIMEOUT, try_join_all(sent)).await.expect("no acknowledgements within the time limit").unwrap()
}

/// Reads this many messages.
pub async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::with_capacity(count);
    while deliveries.len() < count {
        match timeout(TIMEOUT, reader.next()).await {
            Ok(Ok(ReaderItem::Delivery(delivery))) => deliveries.push(delivery),
            other => panic!("{} of {count} messages arrived, then {other:?}", deliveries.len()),
        }
    }
    deliveries
}

/// A message of 20 bytes with a number.
pub fn message(key: &str, number: usize) -> Message {
    numbered(key, number, 20)
}

/// A message of this many bytes with a number.
pub fn numbered(key: &str, number: usize, bytes: usize) -> Message {
    let value: Vec<u8> = (0..bytes).map(|at| (at * 31 + number) as u8).collect();
    Message { key: Some(key.to_owned().into()), headers: Headers::new().with("number", number), value: value.into() }
}

pub fn number(delivery: &Delivery) -> usize {
    delivery.message.headers.required("number").unwrap()
}

pub fn numbers(deliveries: &[Delivery]) -> Vec<usize> {
    deliveries.iter().map(number).collect()
}

fn key(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.key.clone().unwrap().to_vec()).unwrap()
}

fn length(range: &Range) -> usize {
    usize::try_from(range.end - range.earliest).unwrap()
}
