//! `up` with one embedded part at a time replaced by a server: a photograph raises an alert in each combination.

use std::collections::BTreeSet;

use crate::delivery::{Subscriber, TestClient, assert_nothing_lost, small_photo};
use crate::nothing_lost::TestNamespace;
use crate::processes::TestServer;

async fn one_photograph_with(test: &str, names: &[&str]) {
    let Some(image) = small_photo(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let namespace = TestNamespace::create(folder.path());
    let mut up = TestServer::start(&namespace.settings(names)).await;
    let client = TestClient::new(&up.url, &up.token);
    let subscriber = Subscriber::start(&client, "/v1/alerts", 0, u32::MAX).await;
    let frame = client.send(&image).await;
    assert_nothing_lost(&client, &BTreeSet::from([frame]), subscriber).await;
    assert!(up.process.stop(), "{}", up.process.output());
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn kafka_alone_replaces_the_embedded_log() {
    let names = ["SIGHTLINE_KAFKA_BROKERS", "SIGHTLINE_TOPICS_FILE"];
    one_photograph_with("kafka_alone_replaces_the_embedded_log", &names).await;
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn mongodb_alone_replaces_the_embedded_documents() {
    let names = ["SIGHTLINE_MONGODB_URI", "SIGHTLINE_MONGODB_DATABASE"];
    one_photograph_with("mongodb_alone_replaces_the_embedded_documents", &names).await;
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn postgresql_alone_replaces_the_embedded_accounts() {
    one_photograph_with("postgresql_alone_replaces_the_embedded_accounts", &["SIGHTLINE_DATABASE_URL"]).await;
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn redis_alone_replaces_the_limits_in_the_process() {
    one_photograph_with("redis_alone_replaces_the_limits_in_the_process", &["SIGHTLINE_REDIS_URL"]).await;
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn another_folder_replaces_the_embedded_images() {
    one_photograph_with("another_folder_replaces_the_embedded_images", &["SIGHTLINE_BLOB_URL"]).await;
}
