//! The guarantees of accounts, with two instances on one database: always on SQLite, on PostgreSQL
//! if `SIGHTLINE_TEST_DATABASE_URL` names a server, and with limits in Redis if
//! `SIGHTLINE_TEST_REDIS_URL` names one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails, in its helpers too")]

mod answers;
mod busy;
mod maintenance;
mod postgres;
mod redis;
mod sqlite;
mod suite;
mod test_accounts;
#[path = "../../../store/src/relational/test_database.rs"]
mod test_database;
mod timing;
mod verifier;
