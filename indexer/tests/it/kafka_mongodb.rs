//! Tests of the other modules, run on Kafka (`SIGHTLINE_TEST_KAFKA_BROKERS`) and MongoDB (`SIGHTLINE_TEST_MONGODB_URI`).

use std::sync::Arc;

use bus::kafka::admin;
use bus::{KafkaBus, KafkaConfig};
use contracts::Topics;
use store::MongoDocuments;
use uuid::Uuid;

use crate::test_indexer::TestIndexer;
use crate::{external, failing, storing};

/// New topics and a new database on the test servers.
async fn on_servers() -> TestIndexer {
    let brokers = std::env::var("SIGHTLINE_TEST_KAFKA_BROKERS").expect("SIGHTLINE_TEST_KAFKA_BROKERS is set");
    let uri = std::env::var("SIGHTLINE_TEST_MONGODB_URI").expect("SIGHTLINE_TEST_MONGODB_URI is set");
    let id = Uuid::now_v7().simple();
    let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
    let topics = topics.prefixed(&format!("indexer-{id}-")).map(|topic| topic.partitions = topic.partitions.min(3));
    let config = KafkaConfig::new(brokers);
    admin::apply(&config, &topics, Some(1)).await.unwrap();
    let bus = KafkaBus::connect(config, &topics).await.unwrap();
    let documents = MongoDocuments::connect(&uri, Some(&format!("indexer_{id}"))).await.unwrap();
    TestIndexer::of(Arc::new(bus), Arc::new(documents))
}

#[tokio::test]
#[ignore = "needs kafka and mongodb"]
async fn kafka_results_are_stored_once_in_mongodb() {
    storing::stored_once(&on_servers().await).await;
}

#[tokio::test]
#[ignore = "needs kafka and mongodb"]
async fn plain_vehicle_json_on_kafka_is_indexed() {
    external::vehicles(&on_servers().await).await;
}

#[tokio::test]
#[ignore = "needs kafka and mongodb"]
async fn a_crash_between_storing_and_alerting_loses_nothing() {
    failing::crash_between(&on_servers().await).await;
}
