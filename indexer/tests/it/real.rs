//! The same on Kafka and MongoDB: `SIGHTLINE_TEST_KAFKA_BROKERS` and `SIGHTLINE_TEST_MONGODB_URI` say where they are.

use std::sync::Arc;

use bus::kafka::admin;
use bus::{KafkaBus, KafkaConfig};
use contracts::Topics;
use store::MongoDocuments;
use uuid::Uuid;

use crate::world::World;
use crate::{failing, foreign, storing};

/// A log and a database of its own on the test servers.
async fn world() -> World {
    let brokers =
        std::env::var("SIGHTLINE_TEST_KAFKA_BROKERS").expect("SIGHTLINE_TEST_KAFKA_BROKERS names the brokers");
    let uri = std::env::var("SIGHTLINE_TEST_MONGODB_URI").expect("SIGHTLINE_TEST_MONGODB_URI names a replica set");
    let id = Uuid::now_v7().simple();
    let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
    let topics = topics.prefixed(&format!("indexer-{id}-")).map(|topic| topic.partitions = topic.partitions.min(3));
    let config = KafkaConfig::new(brokers);
    admin::apply(&config, &topics, Some(1)).await.unwrap();
    let bus = KafkaBus::connect(config, &topics).await.unwrap();
    let documents = MongoDocuments::connect(&uri, Some(&format!("indexer_{id}"))).await.unwrap();
    World::of(Arc::new(bus), Arc::new(documents))
}

#[tokio::test]
#[ignore = "needs kafka and mongodb"]
async fn every_result_of_kafka_is_kept_once_in_mongodb_however_often_it_is_delivered() {
    storing::kept_once(&world().await).await;
}

#[tokio::test]
#[ignore = "needs kafka and mongodb"]
async fn vehicles_of_foreign_producers_on_kafka_are_kept_counted_and_alerted() {
    foreign::vehicles(&world().await).await;
}

#[tokio::test]
#[ignore = "needs kafka and mongodb"]
async fn a_crash_on_real_servers_repeats_no_alert_and_loses_no_document() {
    failing::crash_between(&world().await).await;
}
