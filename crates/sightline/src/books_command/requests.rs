//! The requests of `sightline books`. Each is repeated while a retry may succeed; what they change may be repeated without harm.

use std::time::Duration;

use platform::retry::Backoff;
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;

use crate::client::{Client, Refusal};
use crate::sending::deadline::{Deadline, Failure};
use crate::sending::responses::{Tried, body};

/// Longest time of a request. The longest one waits half a minute for the work on a recording.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(70);
/// Pauses before a retry, where the server asks for no longer one.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The server does not have the routes.
#[derive(Debug, thiserror::Error)]
#[error("the server has no shop; is it an older version, or a service without it? {0}")]
struct NoShop(Refusal);

/// A server, and how long a request waits for it.
pub struct Requests<'a> {
    /// The server.
    pub client: &'a Client,
    /// `--wait`, in seconds.
    pub wait: Option<u64>,
}

impl<'a> Requests<'a> {
    /// Requests to this server; `wait` is `--wait`.
    pub const fn new(client: &'a Client, wait: Option<u64>) -> Self {
        Self { client, wait }
    }

    /// Sends a request until it succeeds; returns the body of the response.
    ///
    /// # Errors
    /// [`Refusal`] when a retry cannot succeed. Others when the time limit passes, or the server cannot be reached at all.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> anyhow::Result<RequestBuilder>,
    ) -> anyhow::Result<T> {
        let mut deadline = Deadline::new(self.wait);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let timeout = deadline.begin_request(REQUEST_TIMEOUT);
            match self.ask_once(request()?.timeout(timeout)).await? {
                Ok(answer) => return Ok(answer),
                Err(failure) => deadline.wait(failure, backoff.pause()).await?,
            }
        }
    }

    /// Sends a request once; returns the body of a successful response.
    pub async fn ask_once<T: DeserializeOwned>(&self, request: RequestBuilder) -> Tried<T> {
        match self.send(request).await? {
            Ok(response) => body(response).await,
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Sends a request once; returns a successful response.
    pub async fn send(&self, request: RequestBuilder) -> Tried<Response> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(Failure::Unanswered(self.client.connection_error(&error).await?))),
        };
        if response.status().is_success() {
            return Ok(Ok(response));
        }
        let refusal = Refusal::read(response).await;
        if refusal.is_transient() {
            return Ok(Err(Failure::Refused(refusal.pause, refusal.to_string())));
        }
        if refusal.code == UNKNOWN_PATH {
            return Err(NoShop(refusal).into());
        }
        Err(refusal.into())
    }
}

/// The code of a path that the server does not have.
const UNKNOWN_PATH: &str = "unknown_path";

/// Whether an error is a refusal with one of these codes.
pub fn is_refused_with(error: &anyhow::Error, codes: &[&str]) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| codes.contains(&refusal.code.as_str()))
}
