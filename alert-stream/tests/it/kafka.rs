//! Tests of the other modules, run on Kafka. `SIGHTLINE_TEST_KAFKA_BROKERS` lists the brokers.

use std::sync::Arc;

use bus::kafka::admin;
use bus::{KafkaBus, KafkaConfig};
use contracts::Topics;
use uuid::Uuid;

use crate::client::SseClient;
use crate::test_stream::{ADMIN, TestStream, alerts};
use crate::{ordering, resuming};

/// New topics on the test cluster.
async fn on_kafka() -> TestStream {
    let brokers = std::env::var("SIGHTLINE_TEST_KAFKA_BROKERS").expect("SIGHTLINE_TEST_KAFKA_BROKERS is set");
    let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
    let prefix = format!("stream-{}-", Uuid::now_v7());
    let topics = topics.prefixed(&prefix).map(|topic| topic.partitions = 1);
    let config = KafkaConfig::new(brokers);
    admin::apply(&config, &topics, Some(1)).await.unwrap();
    TestStream::on(Arc::new(KafkaBus::connect(config, &topics).await.unwrap()))
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn two_replicas_on_kafka_have_one_order() {
    ordering::one_order(&on_kafka().await).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn kafka_duplicates_are_dropped_live_and_in_replays() {
    ordering::same_duplicates_everywhere(&on_kafka().await).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_reconnecting_client_on_kafka_sees_each_alert_once() {
    resuming::reconnects(&on_kafka().await, 11).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn an_id_of_another_kafka_topic_gets_a_reset() {
    let (test, other_log) = (on_kafka().await, on_kafka().await);
    let other = other_log.replica(&[]).await;
    let id = SseClient::listen(other.address, ADMIN).await.last_id.unwrap();
    other.stop().await;
    test.publish(alerts(0..5)).await;
    let replica = test.replica(&["--alert-window", "1"]).await;
    let mut client = SseClient::resume(replica.address, ADMIN, &id).await;
    assert!(client.named_event().await.is("reset"));
    assert_eq!(client.numbers(5).await, [0, 1, 2, 3, 4]);
    replica.stop().await;
}
