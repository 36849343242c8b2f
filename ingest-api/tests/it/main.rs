//! The whole service on embedded backends, tested over HTTP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails, in its helpers too")]

mod backpressure;
mod bad_input;
mod compat;
mod golden;
mod health;
mod instances;
mod openapi;
mod openid;
mod outages;
mod support;
mod tenancy;
mod v1;
