//! The whole service on embedded parts, on a port that the system picks.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails, in its helpers too")]

mod alerts;
mod away;
mod bad_input;
mod code_flow;
mod docs;
mod id_tokens;
mod identities;
mod issuer;
mod limits;
mod manage;
mod older;
mod openid_provider;
mod queries;
mod quota;
mod rules;
mod servers;
mod sessions;
mod site;
mod submit;
mod tenancy;
mod tokens;
mod users;
mod wait;
