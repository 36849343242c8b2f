//! Common parts of all services with an HTTP API.
//!
//! ```text
//! request ──▶ middleware ──▶ Authorized, StrictQuery, PathId, JsonBody ──▶ handler ──▶ response
//!                 │               └──────────── ApiError ──────────────────┴──▶ problem (RFC 9457)
//!                 └── metrics, rate limit headers, panics, full disks
//! ```
//!
//! In: requests of clients. Out: the arguments of handlers, problems, headers of rate limits, metrics, and the parts of the
//! OpenAPI document that follow from the types of a handler.
//!
//! Guarantees: a caller is authenticated and counted before its handler runs; bodies of requests are limited in
//! size, time and bytes in memory, and long responses in bytes in memory, in all and of one tenant; bad
//! input gets a problem that says what is allowed; causes of failures are logged and not sent.
//!
//! A service implements [`ApiState`] for the state of its handlers.

pub mod account_error;
pub mod auth;
pub mod callers;
pub mod client_origin;
pub mod describe;
mod drain;
pub mod error;
pub mod extract;
mod files_in_use;
pub mod form_data;
mod full_disk;
pub mod json_body;
pub mod middleware;
pub mod openapi;
mod proxy_network;
pub mod rate_limit;
mod request_metrics;
mod response_bytes;
pub mod scope;
pub mod shares;
mod state;
pub mod upload;

pub use files_in_use::checked;
pub use state::ApiState;
