//! The contract suite on MongoDB, a database per test, and what is particular to a server.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use futures::FutureExt;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use store::{Documents, MongoDocuments, StoreError};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::fixture::{face, result};
use crate::standalone;
use crate::suite::for_every_promise;

fn uri() -> String {
    std::env::var("SIGHTLINE_TEST_MONGODB_URI").expect("SIGHTLINE_TEST_MONGODB_URI names a replica set")
}

fn fresh_name() -> String {
    format!("sightline_test_{}", Uuid::now_v7().simple())
}

async fn drop_database(name: &str) {
    Client::with_uri_str(uri()).await.unwrap().database(name).drop().await.unwrap();
}

/// Runs a test on a database of its own that is gone afterwards, however the test ends.
async fn on_fresh_database(test: impl AsyncFnOnce(&MongoDocuments, &str)) {
    let name = fresh_name();
    let store = MongoDocuments::connect(&uri(), &name).await.unwrap();
    let outcome = AssertUnwindSafe(test(&store, &name)).catch_unwind().await;
    drop_database(&name).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

macro_rules! on_mongodb {
    ($($room:ident::$promise:ident,)*) => {
        $(
            #[tokio::test]
            #[ignore = "needs mongodb"]
            async fn $promise() {
                on_fresh_database(async |store, _| crate::suite::$room::$promise(store).await).await;
            }
        )*
    };
}
for_every_promise!(on_mongodb);

async fn refusal(uri: &str, database: &str) -> StoreError {
    MongoDocuments::connect(uri, database).await.err().expect("the connection is refused")
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn another_programs_database_is_refused_and_left_as_it_was() {
    let name = fresh_name();
    let database = Client::with_uri_str(uri()).await.unwrap().database(&name);
    database.collection::<Document>("theirs").insert_one(doc! { "a": 1 }).await.unwrap();

    let refused = refusal(&uri(), &name).await;
    let names = database.list_collection_names().await.unwrap();
    drop_database(&name).await;

    assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
    assert!(refused.to_string().contains("not Sightline's (such as theirs)"), "{refused}");
    assert_eq!(names, ["theirs"]);
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn another_versions_database_is_refused_naming_both_versions() {
    on_fresh_database(async |_, name| {
        let meta = Client::with_uri_str(uri()).await.unwrap().database(name).collection::<Document>("meta");
        meta.update_one(doc! {}, doc! { "$set": { "version": 7 } }).await.unwrap();
        let refused = refusal(&uri(), name).await.to_string();
        assert!(refused.contains("schema version 7, this program knows 1"), "{refused}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn several_processes_may_start_on_an_empty_database_at_once() {
    let name = fresh_name();
    let uri = uri();
    let connect = || MongoDocuments::connect(&uri, &name);
    let connected = futures::future::join_all((0..4).map(|_| connect())).await;
    drop_database(&name).await;
    for store in connected {
        store.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn a_write_that_is_not_known_to_be_durable_is_no_success() {
    let name = fresh_name();
    // A name of its own, so that the failure hits no other test's inserts.
    let separator = if uri().contains('?') { '&' } else { '?' };
    let store = MongoDocuments::connect(&format!("{}{separator}appName={name}", uri()), &name).await.unwrap();
    let put = result("2026-01-02T03:04:05Z", vec![face(0.5)]);
    store.put(std::slice::from_ref(&put)).await.unwrap();
    let waiting_failed = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting timed out" };
    let data = doc! { "failCommands": ["insert"], "appName": &name, "writeConcernError": waiting_failed };
    let fail_once = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
    let set = Client::with_uri_str(uri()).await.unwrap().database("admin").run_command(fail_once).await;

    // Everything is there already, which alone would be success.
    let refused = store.put(std::slice::from_ref(&put)).await;
    let again = store.put(std::slice::from_ref(&put)).await;
    drop_database(&name).await;

    if let Err(error) = set {
        println!(
            "skipped: a_write_that_is_not_known_to_be_durable_is_no_success: mongod has no fail points (start it with \
             --setParameter enableTestCommands=1): {error}"
        );
        return;
    }
    assert!(matches!(&refused, Err(StoreError::Unavailable(line)) if line.contains("durable")), "{refused:?}");
    assert_eq!(again.unwrap(), [store::PutOutcome::Stored]);
}

#[tokio::test]
async fn a_server_alone_is_refused_with_one_line_that_names_the_remedy() {
    let refused = refusal(&standalone::start().await, "sightline").await;

    assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
    let line = refused.to_string();
    for part in ["not a replica set", "--replSet", "rs.initiate()", "SIGHTLINE_MONGODB_URI"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(line.lines().count(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_within_ten_seconds() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let started = Instant::now();

    let refused = refusal(&format!("mongodb://user:secret@{free}/?replicaSet=rs0"), "sightline").await;

    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    let line = refused.to_string();
    assert!(line.contains("SIGHTLINE_MONGODB_URI") && line.contains(&free.to_string()), "{line}");
    assert!(!line.contains("secret") && line.lines().count() == 1, "{line}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_its_password() {
    for address in ["", "localhost:27017", "mongodb://user:se@cret@host", "mongodb://user:sec/ret@host:27017"] {
        let refused = refusal(address, "sightline").await;
        assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
        let line = refused.to_string();
        assert!(line.contains("SIGHTLINE_MONGODB_URI"), "{line}");
        assert!(!line.contains("se@cret") && !line.contains("sec"), "{line}");
    }
}
