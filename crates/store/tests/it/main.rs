//! The store's promises, kept by every implementation: one contract suite, run against SQLite always and against MongoDB
//! where `SIGHTLINE_TEST_MONGODB_URI` names a replica set.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails, in its helpers too")]

mod blobs;
mod durability;
mod fixture;
mod mongo;
mod sqlite;
mod standalone;
mod suite;
