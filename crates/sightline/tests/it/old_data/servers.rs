//! The same on real servers: old messages on Kafka, read by each service in its own process, and old documents in MongoDB.

use bus::{Bus, KafkaBus, KafkaConfig};
use mongodb::bson::{Document, doc};
use mongodb::{Client as MongoClient, Database};
use uuid::Uuid;

use super::{Client, LISTS, assert_counts_kept, assert_same_responses, assert_topics_read, expected, old, replay};
use super::{settings, unpacked};
use crate::migrate::{migrate, newest_versions};
use crate::nothing_lost::{TestNamespace, TestServices};
use crate::processes::TestServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn older_topics_are_read_on_kafka() {
    let expected = expected("expected-topics.json");
    let folder = tempfile::tempdir().unwrap();
    let topics = std::fs::read_to_string(old("topics.yaml")).unwrap();
    let namespace = TestNamespace::with_topics(folder.path(), &topics);
    let bus = KafkaBus::connect(KafkaConfig::new(namespace.brokers()), &namespace.topics).await.unwrap();
    replay(&bus, &folder.path().join("blobs"), &expected).await;
    bus.close().await.unwrap();

    let further: Vec<_> = settings().into_iter().filter(|(name, _)| *name != "SIGHTLINE_TOPICS_FILE").collect();
    let mut services = TestServices::start_in(folder, &namespace, &further).await;

    assert_topics_read(&Client::new(&services.url, &namespace.token), &expected).await;
    services.stop();
}

/// A line of `documents.jsonl.gz`, in the extended JSON of MongoDB.
#[derive(serde::Deserialize)]
struct Line {
    collection: String,
    document: Option<Document>,
    index: Option<Document>,
}

fn lines() -> Vec<Line> {
    let text = String::from_utf8(unpacked("documents.jsonl.gz")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Puts the old documents and indexes into a database. Returns the documents by collection.
async fn restore(database: &Database) -> Vec<(String, Document)> {
    let mut restored = Vec::new();
    for line in lines() {
        if let Some(index) = line.index {
            let create = doc! { "createIndexes": &line.collection, "indexes": [index] };
            database.run_command(create).await.unwrap();
        }
        if let Some(stored) = line.document {
            database.collection::<Document>(&line.collection).insert_one(&stored).await.unwrap();
            restored.push((line.collection, stored));
        }
    }
    restored
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn older_documents_are_migrated_and_served_from_mongodb() {
    let expected = expected("expected-documents.json");
    let uri = std::env::var("SIGHTLINE_TEST_MONGODB_URI").expect("SIGHTLINE_TEST_MONGODB_URI names a replica set");
    let name = format!("old_{}", Uuid::now_v7().simple());
    let database = MongoClient::with_uri_str(&uri).await.unwrap().database(&name);
    let restored = restore(&database).await;
    let mongodb = [("SIGHTLINE_MONGODB_URI", uri), ("SIGHTLINE_MONGODB_DATABASE", name)];

    let folder = tempfile::tempdir().unwrap();
    let [_, newest] = newest_versions();
    let [accounts, documents] = migrate(&folder.path().join("data"), &mongodb);
    assert_eq!(accounts, "accounts: skipped, SIGHTLINE_DATABASE_URL is not set");
    assert!(documents.ends_with(&format!(": migrated from schema version 1 to {newest}")), "{documents}");
    let [_, documents] = migrate(&folder.path().join("data"), &mongodb);
    assert!(documents.ends_with(&format!(": schema version {newest}, up to date")), "{documents}");
    let indexes = database.collection::<Document>("detections").list_index_names().await.unwrap();
    assert!(indexes.contains(&"by_attributes".to_owned()), "{indexes:?}");

    let mut server = TestServer::start_in(folder, &[settings(), mongodb.to_vec()].concat()).await;

    let client = Client::new(&server.url, &server.token);
    assert_same_responses(&client, &expected["answers"]).await;
    assert_counts_kept(&client, &expected).await;
    for path in LISTS {
        let old = expected["answers"][path]["items"].as_array().unwrap();
        assert!(!old.is_empty(), "{path} had nothing to lose");
    }
    for (collection, document) in restored.iter().filter(|(collection, _)| collection != "meta") {
        let id = document.get("_id").unwrap().clone();
        let kept = database.collection::<Document>(collection).find_one(doc! { "_id": id }).await.unwrap();
        assert_eq!(kept.as_ref(), Some(document), "{collection}");
    }
    assert!(server.process.stop(), "{}", server.process.output());
}
