//! The whole indexer on the embedded log and SQLite, started as production starts it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod alerting;
mod costly_rules;
mod external;
mod failing;
mod flaky_store;
mod kafka_mongodb;
mod storing;
mod test_indexer;
