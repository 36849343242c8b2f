//! A PostgreSQL database for one test, which is deleted even if the test fails.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// Runs a test with the address of a new database.
pub async fn on_fresh(test: impl AsyncFnOnce(String)) {
    let server = std::env::var("SIGHTLINE_TEST_DATABASE_URL").expect("SIGHTLINE_TEST_DATABASE_URL names a server");
    let name = format!("sightline_test_{}", Uuid::now_v7().simple());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    let outcome = AssertUnwindSafe(test(format!("{base}/{name}"))).catch_unwind().await;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await.unwrap();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}
