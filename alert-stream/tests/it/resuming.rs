//! A client that comes back goes on where it stopped, or is told that it cannot.

use bus::embedded::Options;
use std::time::{Duration, Instant};

use contracts::TopicRole;

use crate::client::{Client, PATIENCE, request};
use crate::world::{ADMIN, Dice, World, alerts, without_repeats};

#[tokio::test]
async fn a_client_cut_again_and_again_misses_nothing_and_sees_nothing_twice() {
    for seed in 1..=3 {
        cut_again_and_again(&World::new(), seed).await;
    }
}

/// A client that is cut after every few alerts and comes back to one of two replicas.
pub async fn cut_again_and_again(world: &World, seed: u64) {
    let mut dice = Dice(seed);
    // Windows so small that the client falls behind them and is served from the log.
    let replicas = [world.replica(&["--alert-window", "40"]).await, world.replica(&["--alert-window", "2000"]).await];
    let mut client = Client::listen(replicas[0].address, ADMIN).await;
    let (mut log, mut seen) = (Vec::new(), Vec::new());
    for round in 0..40_u32 {
        let part: Vec<u128> =
            (0..dice.below(120)).map(|_| u128::from(dice.below(600)) + u128::from(round) * 200).collect();
        world.publish(alerts(part.iter().copied())).await;
        log.extend(part);
        let due = without_repeats(&log).len() - seen.len();
        let take = usize::try_from(dice.below(due as u64 + 1)).unwrap();
        if let Some(fallen) = take_up_to(&mut client, take, &mut seen).await {
            assert_eq!(fallen, "slow");
        }
        let at = replicas[usize::try_from(dice.below(2)).unwrap()].address;
        let id = client.last_id.clone().unwrap();
        drop(client);
        client = Client::resume(at, ADMIN, &id).await;
    }
    let expected = without_repeats(&log);
    while seen.len() < expected.len() {
        let left = expected.len() - seen.len();
        if take_up_to(&mut client, left, &mut seen).await.is_some() {
            let id = client.last_id.clone().unwrap();
            client = Client::resume(replicas[0].address, ADMIN, &id).await;
        }
    }
    assert_eq!(seen, expected, "seed {seed}");
    for replica in replicas {
        replica.stop().await;
    }
}

/// Takes so many alerts; fewer, where the client is told to come back.
async fn take_up_to(client: &mut Client, count: usize, seen: &mut Vec<u128>) -> Option<String> {
    let end = seen.len() + count;
    while seen.len() < end {
        let block = client.event().await;
        match block.number() {
            Some(number) => seen.push(number),
            None => return block.event,
        }
    }
    None
}

#[tokio::test]
async fn who_moves_to_another_replica_goes_on_there() {
    let world = World::new();
    let one = world.replica(&[]).await;
    let mut client = Client::listen(one.address, ADMIN).await;
    world.publish(alerts(0..10)).await;
    assert_eq!(client.numbers(4).await, [0, 1, 2, 3]);
    let id = client.last_id.clone().unwrap();
    one.stop().await;
    let other = world.replica(&[]).await;
    let mut newest = String::new();
    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        let by_query = format!("/v1/alerts?{name}={id}");
        let mut client = Client::send(request(other.address, &by_query, ADMIN)).await;
        assert_eq!(client.numbers(6).await, [4, 5, 6, 7, 8, 9], "{name}");
        newest = client.last_id.clone().unwrap();
    }
    let by_query = format!("/v1/alerts?last_event_id={id}");
    let both = request(other.address, &by_query, ADMIN).header("Last-Event-ID", newest);
    let mut client = Client::send(both).await;
    world.publish(alerts(10..11)).await;
    assert_eq!(client.numbers(1).await, [10], "the header counts for more than the query");
    other.stop().await;
}

#[tokio::test]
async fn an_id_of_another_log_gets_a_reset_and_then_the_oldest() {
    let (world, elsewhere) = (World::new(), World::new());
    let foreign = elsewhere.replica(&[]).await;
    let id = Client::listen(foreign.address, ADMIN).await.last_id.unwrap();
    foreign.stop().await;
    world.publish(alerts(0..5)).await;
    for window in ["1", "100"] {
        let replica = world.replica(&["--alert-window", window]).await;
        let mut client = Client::resume(replica.address, ADMIN, &id).await;
        let reset = client.event().await;
        assert!(reset.is("reset"), "{reset:?}");
        assert_eq!(reset.data.unwrap()["code"], "other_log");
        assert_eq!(client.numbers(5).await, [0, 1, 2, 3, 4]);
        let mut again = Client::resume(replica.address, ADMIN, &reset.id.unwrap()).await;
        assert_eq!(again.numbers(5).await, [0, 1, 2, 3, 4], "a cut right after the reset needs no other");
        replica.stop().await;
    }
}

#[tokio::test]
async fn an_id_older_than_what_is_kept_gets_a_reset_and_then_the_oldest() {
    let brief = |topics: contracts::Topics| topics.map(|topic| topic.retention = Duration::from_secs(1));
    let world = World::with(brief, Options { segment_bytes: 16 << 10, ..Options::default() });
    let replica = world.replica(&["--alert-window", "10"]).await;
    let id = Client::listen(replica.address, ADMIN).await.last_id.unwrap();
    let begun = Instant::now();
    let mut next = 0;
    let earliest = async || world.bus.ranges(TopicRole::Alerts).await.unwrap()[0].earliest;
    while earliest().await == 0 {
        assert!(begun.elapsed() < PATIENCE, "retention never dropped anything");
        world.publish(alerts(next..next + 50)).await;
        next += 50;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut client = Client::resume(replica.address, ADMIN, &id).await;
    let reset = client.event().await;
    assert!(reset.is("reset"), "{reset:?}");
    assert_eq!(reset.data.unwrap()["code"], "too_old");
    // What is kept may have become less again before it was read, which is told once more.
    let mut first = client.event().await;
    while first.is("reset") {
        first = client.event().await;
    }
    let first = first.number().unwrap();
    assert!(first > 0 && first < next);
    replica.stop().await;
}
