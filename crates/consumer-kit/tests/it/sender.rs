//! Sending with retries.

use std::sync::atomic::Ordering;

use bus::BusError;
use consumer_kit::{Interrupted, Sender};
use contracts::{Headers, Message, TopicRole};
use testing::BusChange;
use tokio_util::sync::CancellationToken;

use crate::test_log::{FlakyBus, TestLog, frame};

#[tokio::test]
async fn a_refused_and_a_lost_message_are_sent_again() {
    let log = TestLog::new();
    let bus = FlakyBus::new(&log.bus, 2, BusError::Unavailable("unavailable".to_owned()));
    bus.lost.store(1, Ordering::SeqCst);
    let sender = Sender::new(bus.producer(), CancellationToken::new());
    let pending = vec![sender.begin(TopicRole::Alerts, frame("a")), sender.begin(TopicRole::Alerts, frame("b"))];
    assert!(sender.await_acks(pending).await.unwrap().is_empty());
    // The message whose acknowledgement was lost is on the log twice.
    assert_eq!(log.read(TopicRole::Alerts).await.len(), 3);
}

#[tokio::test]
async fn queueing_waits_while_the_queue_is_full() {
    let log = TestLog::new();
    let bus = FlakyBus::new(&log.bus, 3, BusError::QueueFull);
    let sender = Sender::new(bus.producer(), CancellationToken::new());
    sender.queue(TopicRole::Alerts, frame("a")).await.unwrap().unwrap().await.unwrap();
    assert_eq!(log.read(TopicRole::Alerts).await.len(), 1);
}

#[tokio::test]
async fn a_message_over_the_limit_is_returned() {
    let log = TestLog::new();
    let sender = Sender::new(log.bus.producer(), CancellationToken::new());
    let huge = Message { key: None, headers: Headers::new(), value: vec![0; 2 << 20].into() };
    let too_large = sender.send(TopicRole::Alerts, huge.clone()).await.unwrap().unwrap();
    assert_eq!((too_large.role, too_large.message), (TopicRole::Alerts, huge));
    assert!(matches!(too_large.error, BusError::TooLarge { .. }));
}

#[tokio::test]
async fn a_stop_and_a_fatal_error_interrupt_sending() {
    let log = TestLog::new();
    let stop = CancellationToken::new();
    stop.cancel();
    let bus = FlakyBus::new(&log.bus, usize::MAX, BusError::Unavailable("unavailable".to_owned()));
    let stopped = Sender::new(bus.producer(), stop).send(TopicRole::Alerts, frame("a")).await;
    assert!(matches!(stopped, Err(Interrupted::Stop)), "{stopped:?}");
    let bus = FlakyBus::new(&log.bus, usize::MAX, BusError::Fatal("no such topic".to_owned()));
    let failed = Sender::new(bus.producer(), CancellationToken::new()).send(TopicRole::Alerts, frame("a")).await;
    assert!(matches!(failed, Err(Interrupted::Failure(_))), "{failed:?}");
}
