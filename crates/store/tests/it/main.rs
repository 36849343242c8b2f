//! Contract suites of documents and accounts. They run against SQLite, MongoDB (the replica set of `SIGHTLINE_TEST_MONGODB_URI`)
//! and PostgreSQL (the server of `SIGHTLINE_TEST_DATABASE_URL`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails, in its helpers too")]

mod blobs;
mod durability;
mod fake_mongod;
mod fixture;
mod media;
mod mongo;
mod relational;
mod sqlite;
mod suite;
