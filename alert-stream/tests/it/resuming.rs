//! A client resumes after its last id, or gets a reset.

use std::time::{Duration, Instant};

use bus::embedded::Options;
use contracts::TopicRole;

use crate::client::{SseClient, TIMEOUT, request};
use crate::test_stream::{ADMIN, TestRandom, TestStream, alerts, without_duplicates};

#[tokio::test]
async fn a_client_that_reconnects_sees_each_alert_once() {
    for seed in 1..=3 {
        reconnects(&TestStream::new(), seed).await;
    }
}

/// A client that reconnects after every few alerts, to one of two replicas.
pub async fn reconnects(test: &TestStream, seed: u64) {
    let mut random = TestRandom(seed);
    // One window is so small that the client falls behind it and is served from the log.
    let replicas = [test.replica(&["--alert-window", "40"]).await, test.replica(&["--alert-window", "2000"]).await];
    let mut client = SseClient::listen(replicas[0].address, ADMIN).await;
    let (mut log, mut seen) = (Vec::new(), Vec::new());
    for round in 0..40_u32 {
        let part: Vec<u128> =
            (0..random.below(120)).map(|_| u128::from(random.below(600)) + u128::from(round) * 200).collect();
        test.publish(alerts(part.iter().copied())).await;
        log.extend(part);
        let due = without_duplicates(&log).len() - seen.len();
        let take = usize::try_from(random.below(due as u64 + 1)).unwrap();
        if let Some(event) = take_up_to(&mut client, take, &mut seen).await {
            assert_eq!(event, "slow");
        }
        let at = replicas[usize::try_from(random.below(2)).unwrap()].address;
        let id = client.last_id.clone().unwrap();
        drop(client);
        client = SseClient::resume(at, ADMIN, &id).await;
    }
    let expected = without_duplicates(&log);
    while seen.len() < expected.len() {
        let left = expected.len() - seen.len();
        if take_up_to(&mut client, left, &mut seen).await.is_some() {
            let id = client.last_id.clone().unwrap();
            client = SseClient::resume(replicas[0].address, ADMIN, &id).await;
        }
    }
    assert_eq!(seen, expected, "seed {seed}");
    for replica in replicas {
        replica.stop().await;
    }
}

/// Takes up to `count` alerts. Returns the event that disconnects the client, if one comes.
async fn take_up_to(client: &mut SseClient, count: usize, seen: &mut Vec<u128>) -> Option<String> {
    let end = seen.len() + count;
    while seen.len() < end {
        let event = client.named_event().await;
        match event.number() {
            Some(number) => seen.push(number),
            None => return event.name,
        }
    }
    None
}

#[tokio::test]
async fn a_client_resumes_on_another_replica() {
    let test = TestStream::new();
    let one = test.replica(&[]).await;
    let mut client = SseClient::listen(one.address, ADMIN).await;
    test.publish(alerts(0..10)).await;
    assert_eq!(client.numbers(4).await, [0, 1, 2, 3]);
    let id = client.last_id.clone().unwrap();
    one.stop().await;
    let other = test.replica(&[]).await;
    let by_query = format!("/v1/alerts?last_event_id={id}");
    let mut client = SseClient::send(request(other.address, &by_query, ADMIN)).await;
    assert_eq!(client.numbers(6).await, [4, 5, 6, 7, 8, 9]);
    let newest = client.last_id.clone().unwrap();
    let both = request(other.address, &by_query, ADMIN).header("Last-Event-ID", newest);
    let mut client = SseClient::send(both).await;
    test.publish(alerts(10..11)).await;
    assert_eq!(client.numbers(1).await, [10], "the header takes precedence over the query");
    other.stop().await;
}

#[tokio::test]
async fn the_parameters_of_event_source_polyfills_are_accepted() {
    let test = TestStream::new();
    let replica = test.replica(&[]).await;
    let mut client = SseClient::listen(replica.address, ADMIN).await;
    let start = client.last_id.clone().unwrap();
    test.publish(alerts(0..4)).await;
    client.numbers(2).await;
    let newest = client.last_id.clone().unwrap();
    for query in [
        format!("lastEventId={newest}"),
        format!("lastEventID={newest}"),
        // A polyfill adds its newest id to the URL that the page gave it.
        format!("last_event_id={start}&lastEventId={newest}"),
        format!("last_event_id={newest}&lastEventId="),
    ] {
        let path = format!("/v1/alerts?{query}");
        let mut client = SseClient::send(request(replica.address, &path, ADMIN)).await;
        assert_eq!(client.numbers(2).await, [2, 3], "{query}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn an_id_of_another_topic_gets_a_reset() {
    let (test, other_log) = (TestStream::new(), TestStream::new());
    let other = other_log.replica(&[]).await;
    let id = SseClient::listen(other.address, ADMIN).await.last_id.unwrap();
    other.stop().await;
    test.publish(alerts(0..5)).await;
    for window in ["1", "100"] {
        let replica = test.replica(&["--alert-window", window]).await;
        let mut client = SseClient::resume(replica.address, ADMIN, &id).await;
        let reset = client.named_event().await;
        assert!(reset.is("reset"), "{reset:?}");
        assert_eq!(reset.data.unwrap()["code"], "other_log");
        assert_eq!(client.numbers(5).await, [0, 1, 2, 3, 4]);
        let mut again = SseClient::resume(replica.address, ADMIN, &reset.id.unwrap()).await;
        assert_eq!(again.numbers(5).await, [0, 1, 2, 3, 4], "a reconnect right after the reset gets no further reset");
        replica.stop().await;
    }
}

#[tokio::test]
async fn an_id_that_retention_dropped_gets_a_reset() {
    let short_retention = |topics: contracts::Topics| topics.map(|topic| topic.retention = Duration::from_secs(1));
    let test = TestStream::with(short_retention, Options { segment_bytes: 16 << 10, ..Options::default() });
    let replica = test.replica(&["--alert-window", "10"]).await;
    let id = SseClient::listen(replica.address, ADMIN).await.last_id.unwrap();
    let started = Instant::now();
    let mut next = 0;
    let earliest = async || test.bus.ranges(TopicRole::Alerts).await.unwrap()[0].earliest;
    while earliest().await == 0 {
        assert!(started.elapsed() < TIMEOUT, "retention never dropped anything");
        test.publish(alerts(next..next + 50)).await;
        next += 50;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut client = SseClient::resume(replica.address, ADMIN, &id).await;
    let reset = client.named_event().await;
    assert!(reset.is("reset"), "{reset:?}");
    assert_eq!(reset.data.unwrap()["code"], "too_old");
    // Retention may drop more before it is read, which is another reset.
    let mut first = client.named_event().await;
    while first.is("reset") {
        first = client.named_event().await;
    }
    let first = first.number().unwrap();
    assert!(first > 0 && first < next);
    replica.stop().await;
}
