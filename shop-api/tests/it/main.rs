//! The service on SQLite and a folder, over gRPC and HTTP.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod access;
mod audio;
mod auth;
mod both;
mod catalogue;
mod categories;
mod checkout;
mod covers;
mod deadlines;
mod descriptors;
mod downloads;
mod edge;
mod health;
mod openapi;
mod pipeline;
mod positions;
mod recordings;
mod tenancy;
mod test_service;
mod uploads;
mod web;
mod whole_book;
