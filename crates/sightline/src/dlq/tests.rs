use bus::EmbeddedBus;
use contracts::{Headers, Message, Topics};

use super::*;

/// A log with several partitions of dead letters, and those of them that have one.
async fn log_with(folder: &std::path::Path, letters: usize) -> EmbeddedBus {
    let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
    let topics = topics.map(|topic| {
        if topic.role == TopicRole::FramesDlq {
            topic.partitions = 8;
        }
    });
    let bus = EmbeddedBus::open(folder, &topics, bus::embedded::Options::default()).unwrap();
    for number in 0..letters {
        let key = Some(format!("key-{number}").into());
        let letter = Message { key, headers: Headers::new(), value: "not a dead letter".into() };
        bus.producer().send(TopicRole::FramesDlq, letter).unwrap().await.unwrap();
    }
    bus
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_ends_though_some_partitions_have_no_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let bus = log_with(folder.path(), 3).await;
    let redriven = redrive(&bus, TopicRole::FramesDlq, None).await.unwrap();
    assert_eq!(redriven, Redriven { unreadable: 3, ..Redriven::default() });
    assert_eq!(redrive(&bus, TopicRole::FramesDlq, None).await.unwrap(), Redriven::default());
    // One partition has a dead letter again, the others are behind the group's offsets.
    let letter = Message { key: Some("key-0".into()), headers: Headers::new(), value: "another".into() };
    bus.producer().send(TopicRole::FramesDlq, letter).unwrap().await.unwrap();
    assert!(list(&bus, TopicRole::FramesDlq, 10).await.unwrap().is_empty(), "it is no dead letter");
    let redriven = redrive(&bus, TopicRole::FramesDlq, None).await.unwrap();
    assert_eq!(redriven, Redriven { unreadable: 1, ..Redriven::default() });
}
