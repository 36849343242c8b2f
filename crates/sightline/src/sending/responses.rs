//! What a response says about its request: done, to be tried again, or refused.

use anyhow::{Context, bail};
use platform::root_cause;
use serde::de::DeserializeOwned;

use super::deadline::Failure;
use crate::client::{ErrorResponse, read_error};

/// The result of a request. A retry may overcome the inner error; the outer one is final.
pub type Tried<T> = anyhow::Result<Result<T, Failure>>;

/// Reads the body of a successful response. An incomplete one counts as no response.
pub async fn body<T: DeserializeOwned>(response: reqwest::Response) -> Tried<T> {
    let broken = |reason: String| Ok(Err(Failure::Unanswered(format!("the response broke off: {reason}"))));
    let bytes = match response.bytes().await {
        Ok(bytes) => bytes,
        Err(error) => return broken(root_cause(&error)),
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.is_eof() => broken(error.to_string()),
        Err(error) => Err(error).context("the response cannot be read"),
    }
}

/// Reads an error response after which a retry may succeed.
///
/// # Errors
/// When a retry cannot succeed.
pub async fn failure(response: reqwest::Response) -> anyhow::Result<Failure> {
    match read_error(response).await {
        ErrorResponse::RetryAfter(pause, message) => Ok(Failure::Refused(pause, message)),
        ErrorResponse::Permanent(message) => bail!(message),
    }
}
