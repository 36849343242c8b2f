//! The service on SQLite and a folder, over gRPC and HTTP.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod access;
mod auth;
mod deadlines;
mod descriptors;
mod edge;
mod health;
mod test_service;
mod web;
