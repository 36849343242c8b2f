//! What only Kafka has: members that share partitions and die, clusters that are wrong or gone, retention at the broker.
//! The promises that both buses keep are in the contract suite, which runs here too.

mod ground;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bus::kafka::admin::{self, Difference};
use bus::{Bus, BusError, ConsumerOptions, Incoming, KafkaBus, KafkaConfig, ReaderItem, Start};
use contracts::{TopicRole, Topics};
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::{Offset, TopicPartitionList};

use crate::suite::{self, GROUP};
use ground::{Ground, PATIENCE, admin_client, key, message, on_kafka, send, text};

mod contract {
    use std::future::Future;

    use super::ground::{Ground, on_kafka};

    async fn runner<F: Future<Output = ()>>(scenario: impl FnOnce(Ground) -> F) {
        on_kafka(3, scenario).await;
    }

    contract_suite!(runner, [#[ignore = "needs kafka"]]);
}

/// What a scenario of the suite starts as a process and kills.
#[tokio::test]
#[ignore = "needs kafka; started by another test"]
async fn writing_process() {
    let Some(ground) = Ground::of_parent() else { return };
    suite::write_until_killed(ground.bus().await).await;
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("stream-{number}")).collect()
}

/// Drops what stands before an offset, as retention does.
async fn drop_before(ground: &Ground, role: TopicRole, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(ground.name(role), partition, Offset::Offset(offset)).unwrap();
    let dropped = admin_client().delete_records(&list, &AdminOptions::new()).await.unwrap();
    assert!(dropped.elements().iter().all(|element| element.error().is_ok()));
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_told_soon_and_by_the_name_of_its_setting() {
    // A port that was free a moment ago, and refuses.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
    let started = Instant::now();
    let refused = KafkaBus::connect(KafkaConfig::new(format!("127.0.0.1:{port}")), &topics).await.err().unwrap();
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(matches!(&refused, BusError::Unavailable(_)), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("SIGHTLINE_KAFKA_BROKERS") && text.contains(&port.to_string()), "{text}");
    assert!(text.contains("refused"), "the reason should be there: {text}");
}

#[tokio::test]
async fn a_setting_that_kafka_does_not_know_is_named_and_its_value_is_not_shown() {
    let properties = vec![("sasl.pasword".to_owned(), "hunter2".to_owned())];
    let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
    let config = KafkaConfig { properties, ..KafkaConfig::new("127.0.0.1:1") };
    let refused = KafkaBus::connect(config, &topics).await.err().unwrap().to_string();
    assert!(refused.contains("sasl.pasword") && !refused.contains("hunter2"), "{refused}");
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn missing_topics_are_named_with_the_command_that_makes_them() {
    let ground = Ground::new(1);
    let refused = KafkaBus::connect(ground.config.clone(), &ground.topics).await.err().unwrap().to_string();
    assert!(
        refused.contains(ground.name(TopicRole::Frames)) && refused.contains("sightline topics apply"),
        "{refused}"
    );
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn topics_are_made_and_corrected_and_a_keyed_topic_never_grows() {
    let ground = Ground::new(2);
    assert_eq!(admin::check(&ground.config, &ground.topics).await.unwrap().len(), TopicRole::ALL.len());
    let made = admin::apply(&ground.config, &ground.topics, None).await.unwrap();
    assert!(made.len() == TopicRole::ALL.len() && made.iter().all(|change| change.applied), "{made:?}");
    assert_eq!(admin::check(&ground.config, &ground.topics).await.unwrap(), []);

    // An operator's own setting stays, one of ours that differs is corrected, partitions are reported and left.
    let frames = ground.name(TopicRole::Frames);
    let theirs = AlterConfig::new(ResourceSpecifier::Topic(frames)).set("retention.bytes", "123456789");
    admin_client().alter_configs([&theirs], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let wanted = ground.topics.map(|topic| {
        if topic.role == TopicRole::Frames {
            topic.retention = Duration::from_secs(7200);
            topic.partitions = 5;
        }
    });
    let changes = admin::apply(&ground.config, &wanted, None).await.unwrap();
    let left: Vec<_> = changes.iter().filter(|change| !change.applied).map(|change| &change.difference).collect();
    let grown = Difference::Partitions { topic: frames.to_owned(), found: 2, wanted: 5 };
    assert_eq!(left, [&grown]);
    assert_eq!(admin::check(&ground.config, &wanted).await.unwrap(), [grown]);
    let settings = admin_client().describe_configs([&ResourceSpecifier::Topic(frames)], &AdminOptions::new()).await;
    let settings = settings.unwrap().remove(0).unwrap();
    assert_eq!(settings.get("retention.bytes").unwrap().value.as_deref(), Some("123456789"));
    assert_eq!(settings.get("retention.ms").unwrap().value.as_deref(), Some("7200000"));
    ground.delete().await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_key_goes_to_the_partition_that_java_clients_choose() {
    on_kafka(7, |ground| async move {
        let bus = ground.bus().await;
        // 32-bit murmur2 of these keys, as Java's client computes it.
        for (key, hash) in [("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            let position = send(&bus, TopicRole::Frames, [message(key, 0)]).await[0];
            assert_eq!(position.partition, (hash & 0x7fff_ffff) % 7, "{key}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka"]
async fn two_members_share_the_partitions_and_each_keys_order_holds_across_the_move() {
    on_kafka(4, |ground| async move {
        let (first, second) = (ground.bus().await, ground.bus().await);
        let streams = names(12);
        let numbered = |numbers: std::ops::Range<u32>| {
            let streams = streams.clone();
            numbers.flat_map(move |number| streams.clone().into_iter().map(move |stream| message(&stream, number)))
        };
        send(&first, TopicRole::Frames, numbered(0..50)).await;
        let mut one = ground.member(&first, ConsumerOptions::default()).await;
        assert_eq!(one.assigned().await, BTreeSet::from([0, 1, 2, 3]));
        let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut note = |delivery: &bus::Delivery| {
            seen.entry(key(delivery)).or_default().push(text(delivery).parse().unwrap());
        };
        for _ in 0..200 {
            let delivery = one.delivery().await;
            note(&delivery);
            one.finish([&delivery]);
        }
        let mut two = ground.member(&second, ConsumerOptions::default()).await;
        let (mut moved, mut taken) = (BTreeSet::new(), BTreeSet::new());
        let (mut count, all) = (200, 100 * streams.len());
        let mut sent_more = false;
        let deadline = Instant::now() + PATIENCE;
        while count < all {
            assert!(Instant::now() < deadline, "{count} of {all} came; moved {moved:?}, taken {taken:?}");
            let (member, incoming) = tokio::select! {
                incoming = one.consumer.next() => (&one, incoming.unwrap()),
                incoming = two.consumer.next() => (&two, incoming.unwrap()),
            };
            match incoming {
                Incoming::Delivery(delivery) => {
                    note(&delivery);
                    member.finish([&delivery]);
                    count += 1;
                }
                Incoming::Revoked(partitions) => moved.extend(partitions),
                Incoming::Assigned(partitions) => taken.extend(partitions),
                gap @ Incoming::Gap { .. } => panic!("{gap:?}"),
            }
            if !sent_more && !taken.is_empty() {
                sent_more = true;
                send(&first, TopicRole::Frames, numbered(50..100)).await;
            }
        }
        assert_eq!(moved, taken);
        assert_eq!(moved.len(), 2);
        for (stream, numbers) in seen {
            assert_eq!(numbers, (0..100).collect::<Vec<u32>>(), "{stream}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_partition_that_is_taken_away_waits_for_the_work_in_hand() {
    on_kafka(2, |ground| async move {
        let (first, second) = (ground.bus().await, ground.bus().await);
        send(&first, TopicRole::Frames, names(20).iter().map(|name| message(name, 1))).await;
        let mut one = ground.member(&first, ConsumerOptions::default()).await;
        let in_hand = one.deliveries(20).await;
        let mut two = ground.member(&second, ConsumerOptions::default()).await;
        let moved = loop {
            tokio::select! {
                incoming = one.next() => if let Incoming::Revoked(partitions) = incoming { break partitions },
                early = two.next() => panic!("came before the work in hand was finished: {early:?}"),
            }
        };
        // The other member gets nothing of it while it is in hand, and only what is new when it is done.
        assert!(two.within(Duration::from_secs(2)).await.is_empty());
        one.finish(&in_hand);
        assert_eq!(two.assigned().await, moved.iter().copied().collect());
        send(&first, TopicRole::Frames, names(20).iter().map(|name| message(name, 2))).await;
        let delivery = two.delivery().await;
        assert_eq!(text(&delivery), "2");
        assert_eq!(moved, [delivery.position.partition]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_member_that_is_dropped_has_its_unfinished_work_redone_at_once() {
    on_kafka(2, |ground| async move {
        let bus = ground.bus().await;
        send(&bus, TopicRole::Frames, (0..10).map(|number| message("one-stream", number))).await;
        let mut one = ground.member(&bus, ConsumerOptions::default()).await;
        let taken = one.deliveries(10).await;
        // The third is missing, so all from it on is to be done again.
        one.finish(taken.iter().filter(|delivery| text(delivery) != "2"));
        drop(one);
        let mut two = ground.member(&bus, ConsumerOptions::default()).await;
        let again: Vec<String> = two.deliveries(8).await.iter().map(text).collect();
        assert_eq!(again, ["2", "3", "4", "5", "6", "7", "8", "9"]);
    })
    .await;
}

/// The life of a process that is killed: it takes what there is, finishes half and says so.
#[tokio::test]
#[ignore = "needs kafka; started by another test"]
async fn member_process() {
    let Some(ground) = Ground::of_parent() else { return };
    let bus = ground.bus().await;
    let mut member = ground.member(&bus, ConsumerOptions::default()).await;
    let taken = member.deliveries(10).await;
    member.finish(&taken[..5]);
    loop {
        drop(member.within(Duration::from_secs(1)).await);
    }
}

async fn assert_the_next_member_redoes_what_a_killed_process_left(ground: Ground) {
    let bus = ground.bus().await;
    send(&bus, TopicRole::Frames, (0..10).map(|number| message("one-stream", number))).await;
    let mut child = ground.process("kafka::member_process").stdout(Stdio::null()).spawn().unwrap();
    // Half is committed in the end; until then everything is unconsumed.
    let first = bus.oldest_unconsumed(TopicRole::Frames, GROUP).await.unwrap();
    assert!(first.is_some());
    let deadline = Instant::now() + PATIENCE;
    while committed(&ground, 0) != Some(5) {
        assert!(Instant::now() < deadline, "the process never committed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut member = ground.member(&bus, ConsumerOptions::default()).await;
    let again: Vec<String> = member.deliveries(5).await.iter().map(text).collect();
    assert_eq!(again, ["5", "6", "7", "8", "9"]);
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_process_that_is_killed_has_its_unfinished_work_redone_and_nothing_before_it() {
    on_kafka(1, assert_the_next_member_redoes_what_a_killed_process_left).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_killed_process_with_a_name_is_followed_by_the_next_of_its_name_before_it_is_missed() {
    on_kafka(1, |ground| assert_the_next_member_redoes_what_a_killed_process_left(ground.named("one"))).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn of_two_members_with_one_name_the_first_ends_and_says_which_setting_to_change() {
    on_kafka(1, |ground| async move {
        let ground = ground.named("one");
        let (first_bus, second_bus) = (ground.bus().await, ground.bus().await);
        let mut first = ground.member(&first_bus, ConsumerOptions::default()).await;
        first.assigned().await;
        let mut second = ground.member(&second_bus, ConsumerOptions::default()).await;
        second.assigned().await;
        let refused = async {
            loop {
                if let Err(error) = first.consumer.next().await {
                    return error;
                }
            }
        };
        let error = tokio::time::timeout(PATIENCE, refused).await.expect("the first should have been told by now");
        assert!(error.to_string().contains("SIGHTLINE_KAFKA_INSTANCE"), "{error}");
        assert!(!error.is_transient(), "{error}");
    })
    .await;
}

/// What the group committed of a partition of `frames`.
fn committed(ground: &Ground, partition: i32) -> Option<i64> {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", ground::brokers()).set("group.id", ground.group(GROUP));
    let consumer: BaseConsumer = config.create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(ground.name(TopicRole::Frames), partition);
    let found = consumer.committed_offsets(asked, PATIENCE).unwrap();
    match found.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn what_was_finished_before_a_clean_close_is_not_done_again() {
    on_kafka(2, |ground| async move {
        let bus = ground.bus().await;
        send(&bus, TopicRole::Frames, names(20).iter().map(|name| message(name, "before"))).await;
        let mut one = ground.member(&bus, ConsumerOptions::default()).await;
        let taken = one.deliveries(20).await;
        let finisher = one.consumer.finisher();
        let closing = tokio::spawn(one.close());
        // The close waits for what is in hand.
        taken.iter().for_each(|delivery| finisher.finished(delivery.position));
        closing.await.unwrap().unwrap();
        assert_eq!(bus.oldest_unconsumed(TopicRole::Frames, GROUP).await.unwrap(), None);
        send(&bus, TopicRole::Frames, [message("another", "after")]).await;
        let mut two = ground.member(&bus, ConsumerOptions::default()).await;
        assert_eq!(text(&two.delivery().await), "after");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn slow_work_holds_a_bounded_number_of_messages_and_everything_comes_once_and_in_order() {
    on_kafka(1, |ground| async move {
        let bus = ground.bus().await;
        send(&bus, TopicRole::Frames, (0..3000).map(|number| message("one-stream", number))).await;
        let mut member = ground.member(&bus, ConsumerOptions { max_in_flight: 3, ..ConsumerOptions::default() }).await;
        let mut in_hand = member.deliveries(3).await;
        // Long enough for the partition to be paused; nothing more comes meanwhile.
        assert!(member.within(Duration::from_millis(1500)).await.is_empty());
        for number in 0..3000 {
            let done = in_hand.remove(0);
            assert_eq!(text(&done), number.to_string());
            member.finish([&done]);
            if number < 2997 {
                in_hand.push(member.delivery().await);
            }
        }
        assert!(member.within(Duration::from_millis(500)).await.is_empty());
    })
    .await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn whoever_is_behind_what_retention_dropped_is_told() {
    on_kafka(1, |ground| async move {
        let bus = ground.bus().await;
        let numbered = |numbers: std::ops::Range<u32>| numbers.map(|number| message("one-stream", number));
        send(&bus, TopicRole::Frames, numbered(0..10)).await;
        let mut one =
            ground.member(&bus, ConsumerOptions { drain: Duration::ZERO, ..ConsumerOptions::default() }).await;
        let taken = one.deliveries(10).await;
        one.finish(&taken[..3]);
        one.close().await.unwrap();
        drop_before(&ground, TopicRole::Frames, 0, 7).await;

        let mut two = ground.member(&bus, ConsumerOptions::default()).await;
        two.assigned().await;
        let gap = two.next().await;
        assert!(matches!(gap, Incoming::Gap { partition: 0, from: 3, to: 7 }), "{gap:?}");
        assert_eq!(text(&two.delivery().await), "7");

        let mut reader = bus.reader(TopicRole::Frames, Start::Offset(5)).await.unwrap();
        let gap = reader.next().await.unwrap();
        assert!(matches!(gap, ReaderItem::Gap { partition: 0, from: 5, to: 7 }), "{gap:?}");
        match reader.next().await.unwrap() {
            ReaderItem::Delivery(delivery) => assert_eq!(text(&delivery), "7"),
            gap @ ReaderItem::Gap { .. } => panic!("{gap:?}"),
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_topic_made_anew_has_another_incarnation_and_groups_begin_anew() {
    on_kafka(1, |ground| async move {
        let bus = ground.bus().await;
        send(&bus, TopicRole::Frames, (0..5).map(|number| message("one-stream", number))).await;
        let mut one = ground.member(&bus, ConsumerOptions::default()).await;
        let taken = one.deliveries(5).await;
        one.finish(&taken);
        one.close().await.unwrap();
        let before = bus.incarnation(TopicRole::Frames).await.unwrap();
        assert_eq!(ground.bus().await.incarnation(TopicRole::Frames).await.unwrap(), before);
        bus.close().await.unwrap();

        ground.delete_topics().await;
        ground.apply().await;
        let bus = ground.bus().await;
        assert_ne!(bus.incarnation(TopicRole::Frames).await.unwrap(), before);
        send(&bus, TopicRole::Frames, [message("one-stream", "new")]).await;
        let mut two = ground.member(&bus, ConsumerOptions::default()).await;
        assert_eq!(text(&two.delivery().await), "new");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn closing_the_bus_ends_its_members() {
    on_kafka(2, |ground| async move {
        let bus = ground.bus().await;
        let mut member = ground.member(&bus, ConsumerOptions::default()).await;
        member.assigned().await;
        bus.close().await.unwrap();
        let ended = async {
            loop {
                if let Err(ended) = member.consumer.next().await {
                    return ended;
                }
            }
        };
        assert!(matches!(tokio::time::timeout(PATIENCE, ended).await.unwrap(), BusError::Closed));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn headers_that_are_not_utf8_and_values_that_are_null_do_no_harm() {
    on_kafka(1, |ground| async move {
        ground::send_foreign(ground.name(TopicRole::Results)).await;
        let bus = ground.bus().await;
        let mut reader = bus.reader(TopicRole::Results, Start::Earliest).await.unwrap();
        let ReaderItem::Delivery(delivery) = reader.next().await.unwrap() else { panic!("nothing was dropped") };
        assert_eq!((delivery.message.key, delivery.message.value.len()), (None, 0));
        let names: Vec<&str> = delivery.message.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["caf\u{fffd}", "empty"]);
    })
    .await;
}

/// Needs a command that stops and starts the broker, for instance `kill -9` and a start.
async fn assert_a_restart_of_the_broker_loses_nothing(ground: Ground) {
    let Ok(restart) = std::env::var("SIGHTLINE_TEST_KAFKA_RESTART") else {
        println!("skipped: a_broker_that_restarts_…: SIGHTLINE_TEST_KAFKA_RESTART is not set");
        return;
    };
    let bus = ground.bus().await;
    let mut member = ground.member(&bus, ConsumerOptions::default()).await;
    member.assigned().await;
    let producer = bus.producer();
    let restarting = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &restart]).status().unwrap());
    let (streams, count) = (names(5), 4000);
    let sending = tokio::spawn(async move {
        let mut sent = Vec::new();
        for number in 0..count {
            for stream in &streams {
                sent.push(producer.send(TopicRole::Frames, message(stream, number)).unwrap());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        futures::future::try_join_all(sent).await.unwrap().len()
    });
    let mut seen: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let mut highest: BTreeMap<String, u32> = BTreeMap::new();
    while seen.values().map(BTreeSet::len).sum::<usize>() < 5 * count as usize {
        let delivery = member.delivery().await;
        let (stream, number): (String, u32) = (key(&delivery), text(&delivery).parse().unwrap());
        // What was not committed may come again, and then in order again; nothing new comes before its turn.
        let next = highest.get(&stream).map_or(0, |highest| highest + 1);
        assert!(number <= next, "{stream}: {number} came before {next}");
        highest.insert(stream.clone(), number.max(next.saturating_sub(1)));
        seen.entry(stream).or_default().insert(number);
        member.finish([&delivery]);
    }
    assert_eq!(sending.await.unwrap(), 5 * count as usize);
    assert!(restarting.await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka"]
async fn a_broker_that_restarts_loses_nothing_acknowledged_and_everything_comes_in_order() {
    on_kafka(3, assert_a_restart_of_the_broker_loses_nothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka"]
async fn a_broker_that_restarts_does_not_take_a_member_that_it_missed_for_another_of_its_name() {
    on_kafka(3, |ground| async move {
        let mut ground = ground.named("one");
        // Less than the restart takes: the member is given up while it cannot say anything, and its commits wait.
        let soon = [("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "500")];
        ground.config.properties = soon.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        assert_a_restart_of_the_broker_loses_nothing(ground).await;
    })
    .await;
}
