//! The same on Kafka: `SIGHTLINE_TEST_KAFKA_BROKERS` names the brokers.

use std::sync::Arc;

use bus::kafka::admin;
use bus::{KafkaBus, KafkaConfig};
use contracts::Topics;
use uuid::Uuid;

use crate::client::Client;
use crate::world::{ADMIN, World, alerts};
use crate::{ordering, resuming};

/// A log of its own on the test cluster.
async fn world() -> World {
    let brokers =
        std::env::var("SIGHTLINE_TEST_KAFKA_BROKERS").expect("SIGHTLINE_TEST_KAFKA_BROKERS names the brokers");
    let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
    let prefix = format!("stream-{}-", Uuid::now_v7());
    let topics = topics.prefixed(&prefix).map(|topic| topic.partitions = 1);
    let config = KafkaConfig::new(brokers);
    admin::apply(&config, &topics, Some(1)).await.unwrap();
    World::on(Arc::new(KafkaBus::connect(config, &topics).await.unwrap()))
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn two_replicas_on_kafka_show_one_order() {
    ordering::one_order(&world().await).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn repeats_on_kafka_are_dropped_alike_live_from_the_log_and_after_a_restart() {
    ordering::repeats_alike(&world().await).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_client_of_kafka_cut_again_and_again_misses_nothing_and_sees_nothing_twice() {
    resuming::cut_again_and_again(&world().await, 11).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn an_id_of_another_topic_gets_a_reset_and_then_the_oldest() {
    let (world, elsewhere) = (world().await, world().await);
    let foreign = elsewhere.replica(&[]).await;
    let id = Client::listen(foreign.address, ADMIN).await.last_id.unwrap();
    foreign.stop().await;
    world.publish(alerts(0..5)).await;
    let replica = world.replica(&["--alert-window", "1"]).await;
    let mut client = Client::resume(replica.address, ADMIN, &id).await;
    assert!(client.event().await.is("reset"));
    assert_eq!(client.numbers(5).await, [0, 1, 2, 3, 4]);
    replica.stop().await;
}
