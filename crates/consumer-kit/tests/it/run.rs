//! The loop that handles one message at a time.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bus::{ConsumerOptions, Delivery};
use consumer_kit::{Group, HandleError, Handler};
use contracts::TopicRole;
use metrics::Counter;
use tokio_util::sync::CancellationToken;

use crate::test_log::{TestLog, eventually, frame};

/// Records the offsets that it gets; fails `failures` times on the second message.
struct FailsSecond {
    seen: Arc<Mutex<Vec<i64>>>,
    failures: usize,
}

#[async_trait]
impl Handler for FailsSecond {
    async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandleError> {
        let offset = delivery.position.offset;
        self.seen.lock().unwrap().push(offset);
        if offset == 1 && self.failures > 0 {
            self.failures -= 1;
            return Err(HandleError::Transient("the store is unreachable".to_owned()));
        }
        Ok(())
    }
}

fn group(role: TopicRole) -> Group {
    Group { role, name: "test".to_owned(), options: ConsumerOptions::default(), retries: Counter::noop() }
}

#[tokio::test]
async fn a_transient_error_is_retried_in_order() {
    let log = TestLog::new();
    log.send(TopicRole::Frames, [frame("a"), frame("b"), frame("c")]).await;
    let (seen, stop) = (Arc::default(), CancellationToken::new());
    let handler = FailsSecond { seen: Arc::clone(&seen), failures: 2 };
    let running = tokio::spawn(consumer_kit::run(log.bus.clone(), group(TopicRole::Frames), handler, stop.clone()));
    eventually("all is consumed", async || log.is_consumed(TopicRole::Frames, "test").await).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 1, 1, 2]);
}

#[tokio::test]
async fn a_stop_during_retries_leaves_the_message_for_the_next_start() {
    let log = TestLog::new();
    log.send(TopicRole::Frames, [frame("a"), frame("b")]).await;
    let (seen, stop) = (Arc::<Mutex<Vec<i64>>>::default(), CancellationToken::new());
    let handler = FailsSecond { seen: Arc::clone(&seen), failures: usize::MAX };
    let running = tokio::spawn(consumer_kit::run(log.bus.clone(), group(TopicRole::Frames), handler, stop.clone()));
    eventually("the second was tried", async || seen.lock().unwrap().contains(&1)).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    seen.lock().unwrap().clear();
    let stop = CancellationToken::new();
    let handler = FailsSecond { seen: Arc::clone(&seen), failures: 0 };
    let running = tokio::spawn(consumer_kit::run(log.bus.clone(), group(TopicRole::Frames), handler, stop.clone()));
    eventually("all is consumed", async || log.is_consumed(TopicRole::Frames, "test").await).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(*seen.lock().unwrap(), [1]);
}

/// Refuses every message.
struct Refuses;

#[async_trait]
impl Handler for Refuses {
    async fn handle(&mut self, _: &Delivery) -> Result<(), HandleError> {
        Err(HandleError::permanent("unknown", &"unknown message"))
    }
}

#[tokio::test]
async fn a_topic_without_dead_letters_is_consumed_past_bad_messages() {
    let log = TestLog::new();
    log.send(TopicRole::Alerts, [frame("a"), frame("b")]).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(consumer_kit::run(log.bus.clone(), group(TopicRole::Alerts), Refuses, stop.clone()));
    eventually("all is consumed", async || log.is_consumed(TopicRole::Alerts, "test").await).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
