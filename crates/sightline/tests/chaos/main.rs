//! What fails in production fails here, by a seed: services, broker and database are killed, stopped and cut off while
//! clients keep books, and disks run full.
//!
//! ```text
//! clients ──▶ ingest-api ─┐           ┌─▶ detector-worker ─┐
//!    ▲                    ├─▶ relays ─┤                    ├─▶ relays ─▶ mongod
//!    └─── alert-stream ◀──┘     │     └─▶ indexer ─────────┘
//!                               └─▶ Kafka
//! ```
//!
//! [`plan`] chooses the faults, [`site`] makes them happen, [`books`] remembers what clients were told and judges in the
//! end, [`report`] writes it down. `scripts/chaos` is the long run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod books;
mod full_disk;
mod plan;
mod relay;
mod report;
mod run;
mod servers;
mod site;
mod subscriber;

#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../it/ledger.rs"]
mod ledger;
#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../it/processes.rs"]
mod processes;
