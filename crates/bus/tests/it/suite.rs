//! The contract suite: what the seam promises, as scenarios that every bus must pass. `contract_suite!` makes a test of each.
//!
//! A scenario gets a [`Log`] that is its own and empty. It opens one instance at a time, as the embedded log demands.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bus::{
    Bus, BusError, Consumer, ConsumerOptions, Delivery, Finisher, Incoming, Position, Progress, Range, Reader,
    ReaderItem, Start,
};
use bytes::Bytes;
use contracts::{Headers, Message, TopicRole};
use futures::future::try_join_all;
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::time::{sleep, timeout};

/// Longer than anything here may take, so that a test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The group that scenarios consume as.
pub const GROUP: &str = "suite";

/// A log that is one scenario's alone: topics with three partitions (`alerts` has one) and nothing in them.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Opens it as another process would, with this much room for unacknowledged bytes. The instance before was closed.
    async fn open_with_queue(&self, bytes: usize) -> Arc<dyn Bus>;

    /// This test binary, set to run [`write_until_killed`] on this log.
    fn writing_process(&self) -> Command;

    /// Opens it with room to spare.
    async fn open(&self) -> Arc<dyn Bus> {
        self.open_with_queue(64 << 20).await
    }
}

/// Makes a test of every scenario, with the runner that gives it a log. Attributes in brackets go to each test.
macro_rules! contract_suite {
    ($run:path, $attributes:tt) => {
        contract_suite!(@each $run, $attributes:
            messages_come_back_as_they_went
            messages_of_a_key_keep_their_order
            a_reader_begins_where_it_asks
            a_reader_waits_for_what_comes
            a_wait_that_is_dropped_loses_nothing
            nothing_acknowledged_is_lost_when_the_process_is_killed
            work_that_was_not_finished_is_done_again
            only_what_stands_before_the_lowest_unfinished_is_committed
            finished_work_is_not_done_again
            closing_a_consumer_waits_for_the_work_in_hand
            groups_do_not_disturb_each_other
            a_full_queue_refuses_at_once_and_what_it_took_arrives
            a_mebibyte_passes_and_what_is_over_the_topics_limit_is_refused
            a_consumer_holds_a_bounded_number_of_messages
            a_consumer_holds_a_bounded_number_of_bytes
            ranges_say_what_is_there
            the_oldest_unconsumed_is_the_first_that_is_not_committed
            progress_is_what_a_group_has_behind_it_and_before_it
            the_incarnation_outlives_the_process
            a_closed_bus_has_sent_what_was_queued_and_answers_closed
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

pub async fn messages_come_back_as_they_went(log: impl Log) {
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
    // Again from where it lies, not from memory.
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

pub async fn messages_of_a_key_keep_their_order(log: impl Log) {
    let bus = log.open().await;
    let keys: Vec<String> = (0..10).map(|key| format!("key-{key}")).collect();
    let all = (0..100).flat_map(|number| keys.iter().map(move |key| message(key, number)));
    let positions = send(&*bus, TopicRole::Frames, all).await;
    let used: BTreeSet<i32> = positions.iter().map(|position| position.partition).collect();
    assert_eq!(used, BTreeSet::from([0, 1, 2]), "keys spread over the partitions");

    let mut member = Member::of(&*bus).await;
    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for delivery in member.take(1000).await {
        seen.entry(key(&delivery)).or_default().push(number(&delivery));
    }
    assert_eq!(seen.len(), 10);
    for (key, numbers) in seen {
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "{key}");
    }
}

pub async fn a_reader_begins_where_it_asks(log: impl Log) {
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

pub async fn a_reader_waits_for_what_comes(log: impl Log) {
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

pub async fn a_wait_that_is_dropped_loses_nothing(log: impl Log) {
    let bus = log.open().await;
    let mut member = Member::of(&*bus).await;
    let sending = {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move { send(&*bus, TopicRole::Frames, (0..300).map(|number| message("k", number))).await })
    };
    let mut numbers = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while numbers.len() < 300 {
        assert!(Instant::now() < deadline, "{} of 300 came", numbers.len());
        // Dropped at its first pending await, again and again.
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

/// What a process does that will be killed: sends numbered messages, some dozens at once, and prints each acknowledged number.
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

pub async fn nothing_acknowledged_is_lost_when_the_process_is_killed(log: impl Log) {
    // Makes the log, so that the process finds it.
    log.open().await.close().await.unwrap();
    for round in 1..=3 {
        let mut process = log.writing_process().stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut acknowledged = BTreeSet::new();
        for line in lines {
            // The test harness may write before it on the line.
            let line = line.unwrap();
            acknowledged.extend(line.rsplit_once("acknowledged ").map(|(_, number)| number.parse::<usize>().unwrap()));
            if acknowledged.len() == 500 * round {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        assert!(acknowledged.len() >= 500 * round, "the process ended by itself after {}", acknowledged.len());

        let bus = log.open().await;
        let there: usize = bus.ranges(TopicRole::Frames).await.unwrap().iter().map(held).sum();
        let mut reader = bus.reader(TopicRole::Frames, Start::Earliest).await.unwrap();
        // Each round's process counts from 0; the last round's run is what follows the last 0 of a key.
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

pub async fn work_that_was_not_finished_is_done_again(log: impl Log) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..20).map(|number| message("k", number))).await;
    let mut first = Member::of(&*bus).await;
    let taken = first.take(20).await;
    first.finish(&taken[..5]);
    // Late marks, from work that outlives its member, are ignored.
    let finisher = first.consumer.finisher();
    drop(first);
    taken[5..].iter().for_each(|delivery| finisher.finished(delivery.position));

    let mut second = Member::of(&*bus).await;
    let again = numbers(&second.take(15).await);
    assert_eq!(again, (5..20).collect::<Vec<_>>());
    drop(second);
    bus.close().await.unwrap();

    let bus = log.open().await;
    let mut third = Member::of(&*bus).await;
    assert_eq!(numbers(&third.take(15).await), (5..20).collect::<Vec<_>>());
}

pub async fn only_what_stands_before_the_lowest_unfinished_is_committed(log: impl Log) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..10).map(|number| message("k", number))).await;
    let mut member = Member::with(&*bus, GROUP, ConsumerOptions { drain: Duration::ZERO, ..Default::default() }).await;
    let taken = member.take(10).await;
    for done in [9, 0, 5, 4, 1, 3] {
        member.finish([&taken[done]]);
    }
    member.consumer.close().await.unwrap();
    bus.close().await.unwrap();

    let bus = log.open().await;
    let mut member = Member::of(&*bus).await;
    assert_eq!(numbers(&member.take(8).await), (2..10).collect::<Vec<_>>());
}

pub async fn finished_work_is_not_done_again(log: impl Log) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..100).map(|number| message(&format!("key-{number}"), number))).await;
    let mut member = Member::of(&*bus).await;
    let taken = member.take(100).await;
    member.finish(taken.iter().rev());
    member.consumer.close().await.unwrap();
    bus.close().await.unwrap();

    let bus = log.open().await;
    assert_eq!(bus.oldest_unconsumed(TopicRole::Frames, GROUP).await.unwrap(), None);
    send(&*bus, TopicRole::Frames, [message("key-1", 100)]).await;
    let mut member = Member::of(&*bus).await;
    assert_eq!(numbers(&member.take(1).await), [100]);
}

pub async fn closing_a_consumer_waits_for_the_work_in_hand(log: impl Log) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..4).map(|number| message("k", number))).await;
    let mut member = Member::of(&*bus).await;
    let taken = member.take(2).await;
    let finisher = member.consumer.finisher();
    let mut closing = tokio::spawn(member.consumer.close());
    let early = timeout(Duration::from_millis(300), &mut closing).await;
    assert!(early.is_err(), "closed with work in hand");
    taken.iter().for_each(|delivery| finisher.finished(delivery.position));
    timeout(PATIENCE, closing).await.unwrap().unwrap().unwrap();

    let mut next = Member::of(&*bus).await;
    assert_eq!(numbers(&next.take(2).await), [2, 3]);
}

pub async fn groups_do_not_disturb_each_other(log: impl Log) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..10).map(|number| message("k", number))).await;
    let mut one = Member::of(&*bus).await;
    let taken = one.take(10).await;
    one.finish(&taken);
    one.consumer.close().await.unwrap();
    // A new group begins at the earliest.
    let mut other = Member::with(&*bus, "another", ConsumerOptions::default()).await;
    assert_eq!(numbers(&other.take(10).await), (0..10).collect::<Vec<_>>());
}

pub async fn a_full_queue_refuses_at_once_and_what_it_took_arrives(log: impl Log) {
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
    timeout(PATIENCE, try_join_all(taken)).await.unwrap().unwrap();
    // There is room again, though it may be a moment behind the acknowledgements: Kafka's client gives back the room of all
    // that one answer acknowledged once all of them are told. What was refused is not there.
    let deadline = Instant::now() + PATIENCE;
    let last = loop {
        match producer.send(TopicRole::Frames, image.clone()) {
            Err(BusError::QueueFull) if Instant::now() < deadline => sleep(Duration::from_millis(1)).await,
            sent => break sent.unwrap(),
        }
    };
    timeout(PATIENCE, last).await.unwrap().unwrap();
    let there: usize = bus.ranges(TopicRole::Frames).await.unwrap().iter().map(held).sum();
    assert_eq!(there, count + 1);
}

pub async fn a_mebibyte_passes_and_what_is_over_the_topics_limit_is_refused(log: impl Log) {
    let bus = log.open().await;
    let large: Vec<Message> = (0..5).map(|number| numbered("k", number, 1 << 20)).collect();
    send(&*bus, TopicRole::Frames, large.clone()).await;
    let limit = contracts::Topics::parse(contracts::topics::DEFAULT).unwrap().get(TopicRole::Frames).max_message_bytes;
    let refused = bus.producer().send(TopicRole::Frames, numbered("k", 5, limit + 1)).err().unwrap();
    assert!(matches!(refused, BusError::TooLarge { limit: told, .. } if told == limit), "{refused:?}");
    assert!(!refused.is_transient());

    let mut member = Member::of(&*bus).await;
    let came: Vec<Message> = member.take(5).await.into_iter().map(|delivery| delivery.message).collect();
    assert!(came == large, "the bytes came back changed");
}

pub async fn a_consumer_holds_a_bounded_number_of_messages(log: impl Log) {
    let bus = log.open().await;
    send(&*bus, TopicRole::Frames, (0..50).map(|number| message("k", number))).await;
    let mut member = Member::with(&*bus, GROUP, ConsumerOptions { max_in_flight: 3, ..Default::default() }).await;
    let mut in_hand = member.take(3).await;
    assert!(member.nothing_comes().await);
    for expected in 0..50 {
        let done = in_hand.remove(0);
        assert_eq!(number(&done), expected);
        member.finish([&done]);
        if expected + 3 < 50 {
            in_hand.extend(member.take(1).await);
        }
    }
}

pub async fn a_consumer_holds_a_bounded_number_of_bytes(log: impl Log) {
    let bus = log.open().await;
    let sizes = [60_000, 30_000, 60_000, 200_000, 10];
    let messages = sizes.iter().enumerate().map(|(number, size)| numbered("k", number, *size));
    send(&*bus, TopicRole::Frames, messages).await;
    let options = ConsumerOptions { max_in_flight_bytes: 100_000, ..Default::default() };
    let mut member = Member::with(&*bus, GROUP, options).await;
    let in_hand = member.take(2).await;
    assert!(member.nothing_comes().await, "90,000 of 100,000 bytes are in hand");
    member.finish(&in_hand);
    let third = member.take(1).await;
    assert!(member.nothing_comes().await, "the fourth is over the limit and one is in hand");
    member.finish(&third);
    // Alone, it is let through.
    let fourth = member.take(1).await;
    assert!(member.nothing_comes().await);
    member.finish(&fourth);
    assert_eq!(numbers(&member.take(1).await), [4]);
}

pub async fn ranges_say_what_is_there(log: impl Log) {
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

pub async fn the_oldest_unconsumed_is_the_first_that_is_not_committed(log: impl Log) {
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

    let mut member = Member::of(&*bus).await;
    let taken = member.take(2).await;
    for (done, then) in [(0, Some(at[1])), (1, None)] {
        member.finish([&taken[done]]);
        let deadline = Instant::now() + PATIENCE;
        while oldest().await != then {
            assert!(Instant::now() < deadline, "message {done} was never committed");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

pub async fn progress_is_what_a_group_has_behind_it_and_before_it(log: impl Log) {
    let bus = log.open().await;
    let progress = async || {
        let Progress { finished, waiting } = bus.progress(TopicRole::Frames, GROUP).await.unwrap();
        (finished, waiting)
    };
    assert_eq!(progress().await, (0, 0));
    send(&*bus, TopicRole::Frames, (0..9).map(|number| message(&format!("key-{number}"), number))).await;
    assert_eq!(progress().await, (0, 9), "of a group that does not exist yet");

    let mut member = Member::of(&*bus).await;
    let taken = member.take(9).await;
    member.finish(&taken);
    let deadline = Instant::now() + PATIENCE;
    while progress().await != (9, 0) {
        assert!(Instant::now() < deadline, "not all was committed");
        sleep(Duration::from_millis(20)).await;
    }
}

pub async fn the_incarnation_outlives_the_process(log: impl Log) {
    let bus = log.open().await;
    let frames = bus.incarnation(TopicRole::Frames).await.unwrap();
    let alerts = bus.incarnation(TopicRole::Alerts).await.unwrap();
    assert_ne!(frames, alerts);
    bus.close().await.unwrap();
    let bus = log.open().await;
    assert_eq!(bus.incarnation(TopicRole::Frames).await.unwrap(), frames);
    assert_eq!(bus.incarnation(TopicRole::Alerts).await.unwrap(), alerts);
}

pub async fn a_closed_bus_has_sent_what_was_queued_and_answers_closed(log: impl Log) {
    let bus = log.open().await;
    let producer = bus.producer();
    let sent: Vec<_> = (0..500).map(|number| producer.send(TopicRole::Frames, message("k", number)).unwrap()).collect();
    let mut reader = bus.reader(TopicRole::Alerts, Start::Earliest).await.unwrap();
    bus.close().await.unwrap();
    timeout(PATIENCE, try_join_all(sent)).await.unwrap().unwrap();
    assert!(matches!(producer.send(TopicRole::Frames, message("k", 500)), Err(BusError::Closed)));
    assert!(matches!(bus.ranges(TopicRole::Frames).await, Err(BusError::Closed)));
    assert!(matches!(timeout(PATIENCE, reader.next()).await.unwrap(), Err(BusError::Closed)));
    assert!(matches!(bus.check().await, Err(BusError::Closed)));
}

/// A member whose waits have an end.
pub struct Member {
    pub consumer: Box<dyn Consumer>,
    finisher: Arc<dyn Finisher>,
}

impl Member {
    pub async fn of(bus: &dyn Bus) -> Self {
        Self::with(bus, GROUP, ConsumerOptions::default()).await
    }

    /// Joins the group of `frames` and waits until the partitions are its own.
    pub async fn with(bus: &dyn Bus, group: &str, options: ConsumerOptions) -> Self {
        let mut consumer = bus.consumer(TopicRole::Frames, group, options).await.unwrap();
        let first = timeout(PATIENCE, consumer.next()).await.expect("partitions should be assigned by now").unwrap();
        assert!(matches!(&first, Incoming::Assigned(partitions) if partitions.len() == 3), "{first:?}");
        let finisher = consumer.finisher();
        Self { consumer, finisher }
    }

    /// Takes this many messages and finishes none.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            match timeout(PATIENCE, self.consumer.next()).await {
                Ok(Ok(Incoming::Delivery(delivery))) => taken.push(delivery),
                other => panic!("{} of {count} messages came, then {other:?}", taken.len()),
            }
        }
        taken
    }

    pub fn finish<'a>(&self, deliveries: impl IntoIterator<Item = &'a Delivery>) {
        deliveries.into_iter().for_each(|delivery| self.finisher.finished(delivery.position));
    }

    async fn nothing_comes(&mut self) -> bool {
        timeout(Duration::from_millis(500), self.consumer.next()).await.is_err()
    }
}

/// Sends all at once and waits for all acknowledgements.
pub async fn send(bus: &dyn Bus, role: TopicRole, messages: impl IntoIterator<Item = Message>) -> Vec<Position> {
    let producer = bus.producer();
    let sent: Vec<_> = messages.into_iter().map(|message| producer.send(role, message).unwrap()).collect();
    timeout(PATIENCE, try_join_all(sent)).await.expect("acknowledgements should be here by now").unwrap()
}

/// Reads this many messages.
pub async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::with_capacity(count);
    while deliveries.len() < count {
        match timeout(PATIENCE, reader.next()).await {
            Ok(Ok(ReaderItem::Delivery(delivery))) => deliveries.push(delivery),
            other => panic!("{} of {count} messages came, then {other:?}", deliveries.len()),
        }
    }
    deliveries
}

/// A small message with a number.
pub fn message(key: &str, number: usize) -> Message {
    numbered(key, number, 20)
}

/// A message with a number and this many bytes.
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

fn held(range: &Range) -> usize {
    usize::try_from(range.end - range.earliest).unwrap()
}
