//! The contract suite on MongoDB, with a database for each test, and tests specific to MongoDB.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use contracts::{Rule, RuleId};
use futures::FutureExt;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use store::{
    FrameFilter, Migrated, MongoDocuments, PageRequest, PutRuleOutcome, ResultStore, RuleStore, StoreError, TenantScope,
};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::fake_mongod;
use crate::fixture::{IndexedBuilder, face, result};
use crate::suite::for_each_contract_test;

fn uri() -> String {
    std::env::var("SIGHTLINE_TEST_MONGODB_URI").expect("SIGHTLINE_TEST_MONGODB_URI names a replica set")
}

fn fresh_name() -> String {
    format!("sightline_test_{}", Uuid::now_v7().simple())
}

async fn drop_database(name: &str) {
    Client::with_uri_str(uri()).await.unwrap().database(name).drop().await.unwrap();
}

/// Runs a test on a new database and drops it, even if the test panics.
async fn on_fresh_database(test: impl AsyncFnOnce(&MongoDocuments, &str)) {
    let name = fresh_name();
    let store = MongoDocuments::connect(&uri(), Some(&name)).await.unwrap();
    let outcome = AssertUnwindSafe(test(&store, &name)).catch_unwind().await;
    drop_database(&name).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

macro_rules! on_mongodb {
    ($($module:ident::$test:ident,)*) => {
        $(
            #[tokio::test]
            #[ignore = "needs mongodb"]
            async fn $test() {
                on_fresh_database(async |store, _| crate::suite::$module::$test(store).await).await;
            }
        )*
    };
}
for_each_contract_test!(on_mongodb);

async fn refusal(uri: &str, database: &str) -> StoreError {
    MongoDocuments::connect(uri, Some(database)).await.err().expect("the connection is refused")
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn another_programs_database_is_refused_unchanged() {
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
        let version = meta.find_one(doc! {}).await.unwrap().unwrap().get_i32("version").unwrap();
        // A migration that changes the data: interrupted, and then complete.
        for later in [version, version + 1] {
            let changed = doc! { "$set": { "version": later, "compatible_from": 99_i64 } };
            meta.update_one(doc! {}, changed).await.unwrap();
            let refused = refusal(&uri(), name).await.to_string();
            let expected = format!("schema version 99 or later, this program knows {version}");
            assert!(refused.contains(&expected), "{refused}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn a_later_versions_database_that_only_adds_is_used() {
    on_fresh_database(async |_, name| {
        let meta = Client::with_uri_str(uri()).await.unwrap().database(name).collection::<Document>("meta");
        meta.update_one(doc! {}, doc! { "$inc": { "version": 1 } }).await.unwrap();
        let later = i64::from(meta.find_one(doc! {}).await.unwrap().unwrap().get_i32("version").unwrap());
        let opened = MongoDocuments::connect(&uri(), Some(name)).await.unwrap();
        assert_eq!(opened.migrated(), Migrated { from: later, to: later });
    })
    .await;
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn concurrent_starts_on_an_empty_database_succeed() {
    let name = fresh_name();
    let uri = uri();
    let connect = || MongoDocuments::connect(&uri, Some(&name));
    let connected = futures::future::join_all((0..4).map(|_| connect())).await;
    drop_database(&name).await;
    for store in connected {
        store.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn a_write_concern_error_is_not_a_success() {
    let name = fresh_name();
    // The fail point selects by app name, so that other tests are not affected.
    let separator = if uri().contains('?') { '&' } else { '?' };
    let store = MongoDocuments::connect(&format!("{}{separator}appName={name}", uri()), Some(&name)).await.unwrap();
    let put = result("2026-01-02T03:04:05Z", vec![face(0.5)]);
    store.put(std::slice::from_ref(&put)).await.unwrap();
    let waiting_failed = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting timed out" };
    let data = doc! { "failCommands": ["insert"], "appName": &name, "writeConcernError": waiting_failed };
    let fail_once = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
    let set = Client::with_uri_str(uri()).await.unwrap().database("admin").run_command(fail_once).await;

    // Everything is stored already, which without the write-concern error would be a success.
    let refused = store.put(std::slice::from_ref(&put)).await;
    let again = store.put(std::slice::from_ref(&put)).await;
    drop_database(&name).await;

    if let Err(error) = set {
        println!(
            "skipped: a_write_concern_error_is_not_a_success: mongod has no fail points (start it with \
             --setParameter enableTestCommands=1): {error}"
        );
        return;
    }
    assert!(matches!(&refused, Err(StoreError::Unavailable(line)) if line.contains("durable")), "{refused:?}");
    assert_eq!(again.unwrap(), [store::PutOutcome::Stored]);
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn a_frame_hides_results_with_missing_detections() {
    on_fresh_database(async |store, name| {
        let put = result("2026-01-02T03:04:05Z", vec![face(0.5), face(0.75)]);
        store.put(std::slice::from_ref(&put)).await.unwrap();
        let detections = Client::with_uri_str(uri()).await.unwrap().database(name).collection::<Document>("detections");
        for left in [1, 0] {
            detections.delete_one(doc! {}).await.unwrap();
            assert_eq!(detections.count_documents(doc! {}).await.unwrap(), left);
            assert_eq!(store.frame(&TenantScope::All, put.frame_id()).await.unwrap(), []);
        }
        let listed = store
            .frames(&TenantScope::All, &FrameFilter::default(), &PageRequest::Newest { after: None, limit: 9 })
            .await;
        assert_eq!(listed.unwrap().len(), 1, "lists use only the results");

        store.put(std::slice::from_ref(&put)).await.unwrap();
        let whole = store.frame(&TenantScope::All, put.frame_id()).await.unwrap();
        assert_eq!(whole.iter().map(|stored| &stored.result).collect::<Vec<_>>(), [&put.result]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn old_duplicate_rule_names_do_not_prevent_a_start() {
    on_fresh_database(async |_, name| {
        let rules = Client::with_uri_str(uri()).await.unwrap().database(name).collection::<Document>("rules");
        rules.drop_index("by_name").await.unwrap();
        let ids = [RuleId::now(), RuleId::now()];
        for id in ids {
            let twin =
                doc! { "_id": id.to_string(), "tenant": "a", "name": "twin", "condition": "true", "enabled": true };
            rules.insert_one(twin).await.unwrap();
        }
        let store = MongoDocuments::connect(&uri(), Some(name)).await.unwrap();
        let twin = Rule {
            id: ids[0],
            tenant: Some("a".parse().unwrap()),
            name: "twin".to_owned(),
            condition: "true".to_owned(),
            enabled: false,
        };
        let before = Rule { enabled: true, ..twin.clone() };
        assert_eq!(store.replace_rule(&before, &twin).await.unwrap(), PutRuleOutcome::Stored);
        let third = Rule { id: RuleId::now(), ..twin.clone() };
        assert_eq!(store.create_rule(&third).await.unwrap(), PutRuleOutcome::NameTaken);
        let single = Rule { name: "single".to_owned(), ..twin.clone() };
        assert_eq!(store.replace_rule(&twin, &single).await.unwrap(), PutRuleOutcome::Stored);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs mongodb"]
async fn contradicting_database_names_are_refused() {
    let name = fresh_name();
    let (server, options) =
        uri().split_once('?').map(|(s, o)| (s.to_owned(), format!("?{o}"))).unwrap_or((uri(), String::new()));
    let address = format!("{}/{name}{options}", server.trim_end_matches('/'));
    let shown = MongoDocuments::connect(&address, None).await.unwrap().describe();
    let refused = refusal(&address, "another").await.to_string();
    drop_database(&name).await;
    assert!(shown.ends_with(&name), "{shown}");
    assert!(refused.contains(&name) && refused.contains("SIGHTLINE_MONGODB_DATABASE names another"), "{refused}");
}

#[tokio::test]
async fn a_standalone_server_is_refused_with_a_remedy() {
    let refused = refusal(&fake_mongod::start().await, "sightline").await;

    assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
    let line = refused.to_string();
    for part in ["not a replica set", "--replSet", "rs.initiate()", "SIGHTLINE_MONGODB_URI"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(line.lines().count(), 1);
}

#[tokio::test]
async fn an_unreachable_server_fails_within_ten_seconds() {
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
async fn an_invalid_uri_error_hides_the_password() {
    for address in ["", "localhost:27017", "mongodb://user:se@cret@host", "mongodb://user:sec/ret@host:27017"] {
        let refused = refusal(address, "sightline").await;
        assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
        let line = refused.to_string();
        assert!(line.contains("SIGHTLINE_MONGODB_URI"), "{line}");
        assert!(!line.contains("se@cret") && !line.contains("sec"), "{line}");
    }
}
