//! The harness: a test server, its storage, an HTTP client, builders, and fakes of external services.

mod builders;
mod client;
mod mailer;
mod refusing_redis;
mod storage;
mod test_server;
mod token_aliases;

pub use builders::{
    PASSWORD, alert_of, attributes_result, caller_of, car_result, face, faces_result, jpeg, png, quota_of,
    registration, result_of,
};
pub use client::{json_of, problem};
pub use mailer::TestMailer;
pub use refusing_redis::refusing_redis;
pub use storage::{TestStorage, backend_addresses};
pub use test_server::{ADMIN, CAMERA, TIMEOUT, TestServer};
pub use token_aliases::{OTHER, READER, TokenAliases};
