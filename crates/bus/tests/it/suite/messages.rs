//! Sending and reading: what is acknowledged, order, limits, restarts.

use super::*;

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
