//! The store's promises, kept by every implementation: a contract suite for documents and one for accounts, run against SQLite
//! always, against MongoDB where `SIGHTLINE_TEST_MONGODB_URI` names a replica set, and against PostgreSQL where
//! `SIGHTLINE_TEST_DATABASE_URL` names a server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails, in its helpers too")]

mod blobs;
mod durability;
mod fake_mongod;
mod fixture;
mod mongo;
mod relational;
mod sqlite;
mod suite;
