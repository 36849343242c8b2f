//! The routes under `/v1`, one module per resource.

mod admin_users;
mod alerts;
mod api_tokens;
mod detections;
mod frames;
mod identities;
mod passwords;
mod quota;
mod rules;
mod sessions;
mod shop;
mod stats;
mod streams;
mod token;
mod users;
