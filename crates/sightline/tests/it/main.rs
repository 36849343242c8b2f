//! The whole product, as its users meet it: processes, ports, files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod accounts;
mod bad_start;
mod combinations;
mod house;
mod ledger;
mod memory;
mod nothing_lost;
mod processes;
mod real_input;
mod reference_flow;
mod settings;
mod tls;
