//! The suite on PostgreSQL, with a database per test, and tests of PostgreSQL alone.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection, Row};
use store::{Relational, StoreError};
use testing::Relay;
use tokio::net::TcpListener;

use super::suite::{for_each_guarantee, uploads};
use super::test_database::on_fresh;
use super::{TwoStores, add, later, now};

async fn connect(url: &str) -> Relational {
    Relational::postgres(url, 8).await.unwrap()
}

pub async fn on_two(test: impl AsyncFnOnce(&TwoStores)) {
    on_fresh(async |url| {
        let two = TwoStores { one: connect(&url).await, other: connect(&url).await };
        two.one.migrate().await.unwrap();
        test(&two).await;
    })
    .await;
}

/// The same on a server that has no pgvector any more.
pub async fn on_two_without_pgvector(test: impl AsyncFnOnce(&TwoStores)) {
    on_fresh(async |url| {
        let two = TwoStores { one: connect(&url).await, other: connect(&url).await };
        two.one.migrate().await.unwrap();
        run(&url, "DROP EXTENSION vector CASCADE").await;
        test(&two).await;
    })
    .await;
}

macro_rules! on_postgresql {
    ($($module:ident::$guarantee:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs postgres"]
            async fn $guarantee() {
                on_two(async |two| super::suite::$module::$guarantee(two).await).await;
            }
        )*
    };
}
for_each_guarantee!(on_postgresql);

async fn run(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn another_programs_database_is_refused_unchanged() {
    on_fresh(async |url| {
        run(&url, "CREATE TABLE theirs (a INT)").await;
        let refused = connect(&url).await.migrate().await.unwrap_err();
        assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
        assert!(refused.to_string().contains("it has theirs"), "{refused}");
        assert!(refused.to_string().contains("SIGHTLINE_DATABASE_URL"), "{refused}");
        assert_eq!(outline(&url).await.len(), 1);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn several_processes_may_migrate_an_empty_database_at_once() {
    on_fresh(async |url| {
        let migrate = async || connect(&url).await.migrate().await.unwrap();
        let steps = futures::future::join_all((0..4).map(|_| migrate())).await;
        assert_eq!(steps.iter().filter(|steps| steps.is_changed()).count(), 1, "one process migrates: {steps:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn an_unmigrated_database_is_refused_with_the_command() {
    on_fresh(async |url| {
        let refused = connect(&url).await.check_schema().await.unwrap_err().to_string();
        assert!(refused.contains("sightline migrate"), "{refused}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_deleted_subject_is_only_among_the_former_ones() {
    on_two(async |two| {
        let tables = async |id| {
            let found = two.other.postgres_rows_with(&[id], None).await.unwrap();
            found.into_iter().map(|table| table.table).collect::<Vec<_>>()
        };
        uploads::a_deleted_subject_is_only_among_the_former_ones(&two.one, tables).await;
    })
    .await;
}

/// Every column, index and constraint of the database, one a line.
async fn outline(url: &str) -> Vec<String> {
    let sql = "SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable AS line
               FROM information_schema.columns WHERE table_schema = 'public'
               UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
               UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid)
               FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY line";
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query(sql).fetch_all(&mut connection).await.unwrap().iter().map(|row| row.get("line")).collect()
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn the_script_for_a_new_database_equals_the_migrations() {
    let mut made = Vec::new();
    on_fresh(async |url| {
        connect(&url).await.migrate().await.unwrap();
        made = outline(&url).await;
    })
    .await;
    on_fresh(async |url| {
        run(&url, include_str!("../../../../../docker/postgres/init.sql")).await;
        // It adds only what the search for faces needs, which is not in the script, because a server may lack pgvector.
        assert!(!connect(&url).await.migrate().await.unwrap().is_changed());
        assert_eq!(outline(&url).await, made);
    })
    .await;
    assert!(made.len() > 100, "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn a_server_outage_is_reported_in_time_and_ends_by_itself() {
    on_fresh(async |url| {
        let mut relay = Relay::to(&url).await;
        let store = connect(&relay.url()).await;
        store.migrate().await.unwrap();
        let user = add(&store, "ann").await;

        relay.cut().await;
        for _ in 0..3 {
            let started = Instant::now();
            let refused = store.user(user).await.unwrap_err();
            assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
            assert!(refused.to_string().contains("SIGHTLINE_DATABASE_URL"), "{refused}");
            assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
        }

        relay.restore().await;
        let started = Instant::now();
        while store.user(user).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "it does not recover");
        }
        assert!(store.end_all_sessions(user, now(), later()).await.unwrap());
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_server_is_reported_without_its_password() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let started = Instant::now();

    let refused = Relational::postgres(&format!("postgres://user:secret@{free}/accounts"), 2).await.err().unwrap();

    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    let line = refused.to_string();
    assert!(line.contains("SIGHTLINE_DATABASE_URL") && line.contains(&free.to_string()), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

#[tokio::test]
async fn an_invalid_address_is_refused_without_its_password() {
    for address in ["", "localhost:5432", "postgres://user:se cret@host:port/db"] {
        let refused = Relational::postgres(address, 2).await.err().unwrap();
        assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
        assert!(refused.to_string().contains("SIGHTLINE_DATABASE_URL"), "{refused}");
        assert!(!refused.to_string().contains("cret"), "{refused}");
    }
}
