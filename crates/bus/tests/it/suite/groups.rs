//! Consumer groups: delivery, finishing, commits, and what is in flight.

use super::*;

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
