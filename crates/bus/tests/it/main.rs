//! The guarantees of the log, on the embedded bus and, where a test says so, on a real Kafka cluster.

#![cfg(test)]

#[macro_use]
mod suite;

mod embedded;
mod kafka;
