//! Joining a group.

use std::sync::Arc;

use bus::{Bus, BusError, ConsumerOptions, Incoming};
use consumer_kit::{Group, GroupReader};
use contracts::TopicRole;
use metrics::Counter;
use testing::ChangedBus;
use tokio_util::sync::CancellationToken;

use crate::test_log::{FlakyBus, TestLog, frame};

fn group() -> Group {
    Group {
        role: TopicRole::Frames,
        name: "test".to_owned(),
        options: ConsumerOptions::default(),
        retries: Counter::noop(),
    }
}

fn unavailable() -> BusError {
    BusError::Unavailable("unavailable".to_owned())
}

#[tokio::test]
async fn joining_waits_until_the_log_is_back() {
    let log = TestLog::new();
    log.send(TopicRole::Frames, [frame("gate-1")]).await;
    let bus = ChangedBus(FlakyBus::new(&log.bus, 2, unavailable()));
    let mut reader = GroupReader::join(&bus, &group(), &CancellationToken::new()).await.unwrap().unwrap();
    assert!(matches!(reader.next().await.unwrap(), Some(Incoming::Assigned(_))));
    assert!(matches!(reader.next().await.unwrap(), Some(Incoming::Delivery(_))));
}

#[tokio::test]
async fn a_stop_while_joining_is_not_an_error() {
    let log = TestLog::new();
    let bus: Arc<dyn Bus> = Arc::new(ChangedBus(FlakyBus::new(&log.bus, usize::MAX, unavailable())));
    let stop = CancellationToken::new();
    let joining = tokio::spawn({
        let stop = stop.clone();
        async move { GroupReader::join(&*bus, &group(), &stop).await.map(|reader| reader.is_none()) }
    });
    stop.cancel();
    assert!(joining.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_fatal_error_while_joining_names_group_and_topic() {
    let log = TestLog::new();
    let bus = ChangedBus(FlakyBus::new(&log.bus, usize::MAX, BusError::Fatal("refused".to_owned())));
    let error = GroupReader::join(&bus, &group(), &CancellationToken::new()).await.err().unwrap();
    let text = format!("{error:#}");
    assert!(text.contains("group test") && text.contains("sightline.frames") && text.ends_with("refused"), "{text}");
}

#[tokio::test]
async fn reading_ends_with_a_stop_and_closing_commits() {
    let log = TestLog::new();
    log.send(TopicRole::Frames, [frame("gate-1")]).await;
    let stop = CancellationToken::new();
    let mut reader = GroupReader::join(&*log.bus, &group(), &stop).await.unwrap().unwrap();
    reader.next().await.unwrap();
    let Some(Incoming::Delivery(delivery)) = reader.next().await.unwrap() else { unreachable!() };
    reader.finisher().finished(delivery.position);
    stop.cancel();
    assert!(reader.next().await.unwrap().is_none());
    reader.close().await.unwrap();
    assert!(log.is_consumed(TopicRole::Frames, "test").await);
}
