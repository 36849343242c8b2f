//! `up` with each embedded part swapped for a server, alone: whatever is where, a photograph becomes an alert.

use std::collections::BTreeSet;

use crate::ledger::{Subscriber, Target, assert_nothing_lost, small_photo};
use crate::nothing_lost::Cluster;
use crate::processes::Up;

async fn one_photograph_with(test: &str, names: &[&str]) {
    let Some(image) = small_photo(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::make(folder.path());
    let mut up = Up::start(&cluster.settings(names)).await;
    let target = Target::new(&up.url, &up.token);
    let subscriber = Subscriber::start(&target, "/v1/alerts", 0, u32::MAX).await;
    let frame = target.send(&image).await;
    assert_nothing_lost(&target, &BTreeSet::from([frame]), subscriber).await;
    assert!(up.process.stop(), "{}", up.process.said());
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn kafka_alone_takes_the_place_of_the_embedded_log() {
    let names = ["SIGHTLINE_KAFKA_BROKERS", "SIGHTLINE_TOPICS_FILE"];
    one_photograph_with("kafka_alone_takes_the_place_of_the_embedded_log", &names).await;
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn mongodb_alone_takes_the_place_of_the_embedded_documents() {
    let names = ["SIGHTLINE_MONGODB_URI", "SIGHTLINE_MONGODB_DATABASE"];
    one_photograph_with("mongodb_alone_takes_the_place_of_the_embedded_documents", &names).await;
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn postgresql_alone_takes_the_place_of_the_embedded_accounts() {
    one_photograph_with("postgresql_alone_takes_the_place_of_the_embedded_accounts", &["SIGHTLINE_DATABASE_URL"]).await;
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn redis_alone_takes_the_place_of_what_is_in_process() {
    one_photograph_with("redis_alone_takes_the_place_of_what_is_in_process", &["SIGHTLINE_REDIS_URL"]).await;
}

#[tokio::test]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn another_folder_takes_the_place_of_the_embedded_images() {
    one_photograph_with("another_folder_takes_the_place_of_the_embedded_images", &["SIGHTLINE_BLOB_URL"]).await;
}
