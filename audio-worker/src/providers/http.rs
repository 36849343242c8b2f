//! The HTTP client of the providers: time and size limits, no redirects, and what a failed call means.
//!
//! In: a request and its limits. Out: the body of a success, or a [`CallFailure`] that says how the provider's state changes, whether the
//! call may be on its bill, and in words what happened. No key is in a failure. A call that is dropped or takes too long is cancelled:
//! its connection is closed, so that the server can stop working on it.

use std::time::Duration;

use media::CallEnd;
use platform::{one_line, root_cause};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use settings::Secret;

use super::classify::{self, Objection};
use super::key_file::KeyFile;

/// Time limit for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept. Some servers close one after five seconds, and a request sent at that moment would be lost.
const IDLE: Duration = Duration::from_secs(4);
/// What is read of the body of a refusal, in bytes.
const MAX_REFUSAL: usize = 16 << 10;
/// Longest id of a request that is kept, in characters.
const MAX_REQUEST_ID: usize = 128;

/// A call that has a whole answer with a status of success.
#[derive(Debug)]
pub(super) struct Answer {
    /// The body.
    pub body: Vec<u8>,
    /// The id that the provider gave the call.
    pub request_id: Option<String>,
}

/// Whether a call may be on the provider's bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Billed {
    /// It was refused, or never arrived.
    No,
    /// Nobody knows: the answer did not arrive.
    Unknown,
    /// There was an answer, though of no use.
    Yes,
}

/// A call without a useful answer.
#[derive(Debug, Clone)]
pub(super) struct CallFailure {
    /// What it means for the provider.
    pub end: CallEnd,
    /// What happened, in words.
    pub text: String,
    /// Whether it may be on the bill.
    pub billed: Billed,
    /// What of the request the server objects to.
    pub objection: Option<Objection>,
    /// The id that the provider gave the call.
    pub request_id: Option<String>,
    /// Whether it took its whole time, so that another try would take as long.
    pub timed_out: bool,
}

impl CallFailure {
    /// A failure of the provider: three in a row cool it.
    pub(super) fn failed(text: impl Into<String>, billed: Billed) -> Self {
        let text = text.into();
        Self::new(CallEnd::Failed { what: text.clone() }, text, billed)
    }

    /// A call with this end.
    pub(super) fn new(end: CallEnd, text: impl Into<String>, billed: Billed) -> Self {
        Self { end, text: text.into(), billed, objection: None, request_id: None, timed_out: false }
    }

    /// An input that is not even sent.
    pub(super) fn input_refused(text: impl Into<String>) -> Self {
        Self::new(CallEnd::InputRefused, text, Billed::No)
    }
}

/// Calls providers. Clones share their connections.
#[derive(Debug, Clone)]
pub(super) struct ProviderClient(Client);

impl ProviderClient {
    /// A client for all providers.
    ///
    /// # Errors
    /// When the system cannot make another client.
    pub(super) fn new() -> anyhow::Result<Self> {
        let client = Client::builder()
            .user_agent(concat!("sightline-audio-worker/", env!("CARGO_PKG_VERSION")))
            // A redirect would make a GET of a POST, or send the key to another server.
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .build()?;
        Ok(Self(client))
    }

    /// A request to this address.
    pub(super) fn post(&self, url: &str) -> RequestBuilder {
        self.0.post(url)
    }

    /// Sends a request and reads the answer, of at most `most` bytes, within `limit`.
    pub(super) async fn call(
        &self,
        request: RequestBuilder,
        key: Option<&KeyFile>,
        limit: Duration,
        most: usize,
    ) -> Result<Answer, CallFailure> {
        let mut request = request.timeout(limit);
        let mut secret = None;
        if let Some(file) = key {
            let read = file.header().await;
            let (key, header) = read.map_err(|text| CallFailure::new(CallEnd::Unauthorised, text, Billed::No))?;
            request = request.header(AUTHORIZATION, header);
            secret = Some(key);
        }
        let secret = secret.as_ref().map(Secret::expose);
        let response = request.send().await.map_err(|error| unanswered(&error, limit))?;
        let request_id = request_id(response.headers(), secret);
        let mut ended = read(response, limit, most, secret).await;
        if let Err(failure) = &mut ended {
            failure.request_id.clone_from(&request_id);
        }
        Ok(Answer { body: ended?, request_id })
    }
}

async fn read(
    mut response: Response,
    limit: Duration,
    most: usize,
    secret: Option<&str>,
) -> Result<Vec<u8>, CallFailure> {
    let status = response.status();
    if !status.is_success() {
        let body = beginning(&mut response).await;
        return Err(classify::refusal(status, response.headers(), &body, secret));
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| unanswered(&error, limit))? {
        if body.len() + part.len() > most {
            return Err(CallFailure::failed(format!("its answer has more than {most} bytes"), Billed::Yes));
        }
        body.extend_from_slice(&part);
    }
    // It would stand in transcripts and messages.
    let is_echo = secret.is_some_and(|key| body.windows(key.len().max(1)).any(|part| part == key.as_bytes()));
    if is_echo {
        return Err(CallFailure::failed("its answer has the key in it; check base_url", Billed::Yes));
    }
    Ok(body)
}

/// The beginning of the body of a refusal, which may have no end.
async fn beginning(response: &mut Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(part)) = response.chunk().await {
        body.extend_from_slice(&part);
        if body.len() >= MAX_REFUSAL {
            break;
        }
    }
    body.truncate(MAX_REFUSAL);
    String::from_utf8_lossy(&body).into_owned()
}

/// A call without a whole answer.
fn unanswered(error: &reqwest::Error, limit: Duration) -> CallFailure {
    if error.is_connect() || error.is_builder() {
        return CallFailure::failed(format!("it cannot be reached: {}", one_line(&root_cause(error))), Billed::No);
    }
    if error.is_timeout() {
        let text = format!("it did not answer within {} s, and the call was cancelled", limit.as_secs());
        return CallFailure { timed_out: true, ..CallFailure::failed(text, Billed::Unknown) };
    }
    // Half an answer, or a connection that was closed before one. The error's own text has the address, its root has not.
    let text = format!("the connection broke before the whole answer was there: {}", one_line(&root_cause(error)));
    CallFailure::failed(text, Billed::Unknown)
}

/// The id by which the provider finds the call in its own books. One with the key in it is none.
fn request_id(headers: &HeaderMap, secret: Option<&str>) -> Option<String> {
    let is_echo = |id: &&str| secret.is_some_and(|key| id.contains(key));
    let values = ["x-request-id", "request-id"].into_iter().filter_map(|name| headers.get(name)?.to_str().ok());
    let mut ids = values.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()) && !is_echo(id));
    ids.next().map(|id| id.chars().take(MAX_REQUEST_ID).collect())
}
