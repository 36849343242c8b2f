//! One order for everybody, each alert once.

use contracts::{Headers, Message, TopicRole};

use crate::client::Client;
use crate::world::{ADMIN, Dice, World, alert, alerts, without_repeats};

/// A log in which every fifth record is a repeat, some from just within reach, some from just beyond.
fn log_with_repeats(length: usize, dice: &mut Dice) -> Vec<u128> {
    let mut log: Vec<u128> = Vec::new();
    for place in 0..length {
        let back = match dice.below(15) {
            0 => 1 + dice.below(20),
            1 => 1_990 + dice.below(20),
            2 => 1 + dice.below(4_000),
            _ => 0,
        };
        let back = usize::try_from(back).unwrap();
        let number = if back > 0 && back <= place { log[place - back] } else { place as u128 };
        log.push(number);
    }
    log
}

#[tokio::test]
async fn two_replicas_show_one_order() {
    one_order(&World::new()).await;
}

/// Two replicas, while four publish at once.
pub async fn one_order(world: &World) {
    let (one, other) = (world.replica(&[]).await, world.replica(&[]).await);
    let (mut first, mut second) =
        (Client::listen(one.address, ADMIN).await, Client::listen(other.address, ADMIN).await);
    // Four publishers at once: which order comes of it, only the log knows.
    let publish = |from: u128| world.publish(alerts(from..from + 250));
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
async fn repeats_are_dropped_alike_live_from_the_log_and_after_a_restart() {
    repeats_alike(&World::new()).await;
}

/// Replicas of every kind of window on a log full of repeats.
pub async fn repeats_alike(world: &World) {
    let live = world.replica(&[]).await;
    let mut listener = Client::listen(live.address, ADMIN).await;
    let beginning = listener.last_id.clone().unwrap();
    let log = log_with_repeats(7_000, &mut Dice(7));
    let expected = without_repeats(&log);
    let distinct: std::collections::HashSet<&u128> = log.iter().collect();
    assert!(expected.len() < log.len() - 500 && expected.len() > distinct.len(), "within reach and beyond it");

    // Not all at once: the live client has to keep up.
    for part in log.chunks(500) {
        world.publish(alerts(part.iter().copied())).await;
    }
    let seen = listener.numbers(expected.len()).await;
    assert_eq!(seen, expected);

    // Started later with windows of every kind, and asked for all of it: from the window, from the log, from both.
    for window in ["100000", "3000", "1"] {
        let late = world.replica(&["--alert-window", window]).await;
        let mut client = Client::resume(late.address, ADMIN, &beginning).await;
        assert_eq!(client.numbers(expected.len()).await, expected, "window {window}");
        late.stop().await;
    }
    live.stop().await;
}

#[tokio::test]
async fn records_that_are_no_alerts_are_left_out() {
    let world = World::new();
    let replica = world.replica(&[]).await;
    let mut client = Client::listen(replica.address, ADMIN).await;
    let garbage = Message { key: None, headers: Headers::new(), value: "{}".into() };
    world.publish([alert(1)]).await;
    world.bus.producer().send(TopicRole::Alerts, garbage).unwrap().await.unwrap();
    world.publish([alert(2)]).await;
    assert_eq!(client.numbers(2).await, [1, 2]);
    replica.stop().await;
}
