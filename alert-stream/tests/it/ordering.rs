//! Every client gets the same order, and each alert once.

use contracts::{Headers, Message, TopicRole};

use crate::client::SseClient;
use crate::test_stream::{ADMIN, TestRandom, TestStream, alert, alerts, without_duplicates};

/// A log in which every fifth record is a duplicate, some just inside the dedup window and some just outside.
fn log_with_duplicates(length: usize, random: &mut TestRandom) -> Vec<u128> {
    let mut log: Vec<u128> = Vec::new();
    for place in 0..length {
        let back = match random.below(15) {
            0 => 1 + random.below(20),
            1 => 1_990 + random.below(20),
            2 => 1 + random.below(4_000),
            _ => 0,
        };
        let back = usize::try_from(back).unwrap();
        let number = if back > 0 && back <= place { log[place - back] } else { place as u128 };
        log.push(number);
    }
    log
}

#[tokio::test]
async fn two_replicas_have_one_order() {
    one_order(&TestStream::new()).await;
}

/// Two replicas, while four producers publish concurrently.
pub async fn one_order(test: &TestStream) {
    let (one, other) = (test.replica(&[]).await, test.replica(&[]).await);
    let (mut first, mut second) =
        (SseClient::listen(one.address, ADMIN).await, SseClient::listen(other.address, ADMIN).await);
    // Four concurrent producers: only the log decides the order.
    let publish = |from: u128| test.publish(alerts(from..from + 250));
    tokio::join!(publish(0), publish(1_000), publish(2_000), publish(3_000));
    let seen = first.numbers(1_000).await;
    assert_eq!(seen, second.numbers(1_000).await);
    let mut all = seen;
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1_000);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn duplicates_are_dropped_live_and_in_replays() {
    same_duplicates_everywhere(&TestStream::new()).await;
}

/// Replicas with windows of several sizes on a log with many duplicates.
pub async fn same_duplicates_everywhere(test: &TestStream) {
    let live = test.replica(&[]).await;
    let mut listener = SseClient::listen(live.address, ADMIN).await;
    let beginning = listener.last_id.clone().unwrap();
    let log = log_with_duplicates(7_000, &mut TestRandom(7));
    let expected = without_duplicates(&log);
    let distinct: std::collections::HashSet<&u128> = log.iter().collect();
    assert!(
        expected.len() < log.len() - 500 && expected.len() > distinct.len(),
        "duplicates inside the window and outside"
    );

    // In parts, so that the live client is never behind the window.
    for part in log.chunks(500) {
        test.publish(alerts(part.iter().copied())).await;
    }
    let seen = listener.numbers(expected.len()).await;
    assert_eq!(seen, expected);

    // Replicas that start later, with windows that serve all of it, some of it and none of it.
    for window in ["100000", "3000", "1"] {
        let late = test.replica(&["--alert-window", window]).await;
        let mut client = SseClient::resume(late.address, ADMIN, &beginning).await;
        assert_eq!(client.numbers(expected.len()).await, expected, "window {window}");
        late.stop().await;
    }
    live.stop().await;
}

#[tokio::test]
async fn records_that_are_not_alerts_are_skipped() {
    let test = TestStream::new();
    let replica = test.replica(&[]).await;
    let mut client = SseClient::listen(replica.address, ADMIN).await;
    let garbage = Message { key: None, headers: Headers::new(), value: "{}".into() };
    test.publish([alert(1)]).await;
    test.bus.producer().send(TopicRole::Alerts, garbage).unwrap().await.unwrap();
    test.publish([alert(2)]).await;
    assert_eq!(client.numbers(2).await, [1, 2]);
    replica.stop().await;
}
