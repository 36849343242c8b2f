//! The fault test: services, broker and database are killed, stopped and disconnected, in an order
//! derived from a seed, while clients record what they sent and received. Another test fills the
//! disk.
//!
//! ```text
//! clients ──▶ ingest-api ─┐           ┌─▶ detector-worker ─┐
//!    ▲                    ├─▶ relays ─┤                    ├─▶ relays ─▶ mongod
//!    └─── alert-stream ◀──┘     │     └─▶ indexer ─────────┘
//!                               └─▶ Kafka
//! ```
//!
//! [`plan`] chooses the faults, [`deployment`] injects them, [`sent_frames`] records what clients sent and verifies the results,
//! [`report`] formats the outcome. `scripts/chaos` is the long run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod deployment;
mod full_disk;
mod full_disk_routes;
mod plan;
mod relay;
mod report;
mod run;
mod sent_frames;
mod servers;
mod small_disk;
mod subscriber;

#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../it/delivery.rs"]
mod delivery;
#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../it/processes.rs"]
mod processes;
