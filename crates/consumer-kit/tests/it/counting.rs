//! The smallest consumer: it counts the frames of each stream. An example to start from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bus::{Bus, ConsumerOptions, Delivery};
use consumer_kit::{Group, HandleError, Handler};
use contracts::{Event, FrameEvent, TopicRole};
use metrics::Counter;
use tokio_util::sync::CancellationToken;

use crate::test_log::{TestLog, eventually, frame, garbage};

/// Frames by stream.
type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

struct CountFrames(Counts);

#[async_trait]
impl Handler for CountFrames {
    async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandleError> {
        let frame = FrameEvent::from_message(&delivery.message)
            .map_err(|error| HandleError::permanent("undecodable", &error))?;
        let stream = frame.stream.map(|stream| stream.to_string()).unwrap_or_default();
        *self.0.lock().unwrap().entry(stream).or_default() += 1;
        Ok(())
    }
}

async fn count_frames(bus: Arc<dyn Bus>, counts: Counts, stop: CancellationToken) -> anyhow::Result<()> {
    let group = Group {
        role: TopicRole::Frames,
        name: "example.frame-counter".to_owned(),
        options: ConsumerOptions::default(),
        retries: Counter::noop(),
    };
    consumer_kit::run(bus, group, CountFrames(counts), stop).await
}

// End of the consumer.

#[tokio::test]
async fn a_consumer_of_forty_lines_counts_a_topic() {
    let lines =
        include_str!("counting.rs").lines().position(|line| line.starts_with("// End of the consumer")).unwrap();
    assert!(lines <= 42, "{lines} lines");
    let log = TestLog::new();
    let (counts, stop) = (Counts::default(), CancellationToken::new());
    let running = tokio::spawn(count_frames(log.bus.clone(), counts.clone(), stop.clone()));
    log.send(TopicRole::Frames, [frame("gate-1"), garbage(), frame("gate-2"), frame("gate-1")]).await;
    eventually("every frame is consumed", async || log.is_consumed(TopicRole::Frames, "example.frame-counter").await)
        .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let expected = BTreeMap::from([("gate-1".to_owned(), 2), ("gate-2".to_owned(), 1)]);
    assert_eq!(*counts.lock().unwrap(), expected);
    let letters = log.dead_letters(TopicRole::FramesDlq).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].cause.code.as_str(), &letters[0].original), ("undecodable", &garbage()));
}
