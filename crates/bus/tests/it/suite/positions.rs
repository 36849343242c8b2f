//! What a group has consumed and what it has not: ranges, ages, numbers.

use super::*;

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
