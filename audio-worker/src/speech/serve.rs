//! The engine behind `OpenAI`'s interface, so that it can stand in for another speech server, and another one for it.
//!
//! ```text
//! POST /v1/audio/transcriptions ──▶ form ──▶ temporary file ──▶ windows with speech ──▶ Engine ──▶ json, text, srt, vtt, verbose_json,
//! GET  /v1/models                                                                                  or a stream of events
//! ```
//!
//! Guarantees: bodies, requests and their files are bounded; a recording may be as long as crates/sound allows, because it is never in memory
//! as a whole. A client that disconnects ends its work. Fields that a client sends for other servers are accepted and have no effect.
//! Errors have `OpenAI`'s form, and say what to do. Without an API key in the settings, whoever reaches the port may use it.

mod answer;
mod error;
mod form;
mod model_list;
mod program;
mod spool;
mod streamed;
mod transcription;

use std::sync::Arc;
use std::time::Duration;

use api_kit::middleware::with_middleware;
use api_kit::upload::{BodyLimits, BytesInFlight};
use axum::Router;
use axum::routing::{get, post};
use clap::Args;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use platform::Health;
use platform::http::{Limits, Listener};
use settings::{Secret, bytes, count};
use subtle::ConstantTimeEq as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::file::Tools;
use error::OpenAiError;
pub use program::{ServeProgram, health};

/// Longest pause of a body, and longest time of a whole one.
const BODY_PAUSE: Duration = Duration::from_secs(30);
const BODY_TIME: Duration = Duration::from_secs(3600);

/// Settings of the server.
#[derive(Debug, Clone, Args)]
#[group(id = "speech_server")]
pub struct ServeArgs {
    /// Largest audio file that a client may send, in bytes; it is written to the folder of temporary files
    #[arg(long, env = "SIGHTLINE_SPEECH_MAX_BYTES", default_value = "512MiB", value_name = "BYTES",
        value_parser = bytes::<usize>(1 << 10..=1 << 36))]
    pub speech_max_bytes: usize,

    /// Requests that are received and transcribed at the same time; further ones are refused
    #[arg(long, env = "SIGHTLINE_SPEECH_REQUESTS", default_value_t = 8, value_name = "NUMBER",
        value_parser = count::<usize>(1..=1024))]
    pub speech_requests: usize,

    /// Key that clients must send as `Authorization: Bearer KEY`; not set, everybody who reaches the port may transcribe
    #[arg(long, env = "SIGHTLINE_SPEECH_API_KEY", value_name = "KEY")]
    pub speech_api_key: Option<Secret>,
}

/// The server. Clones share its state.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    engine: Engine,
    tools: Tools,
    api_key: Option<Secret>,
    body: BodyLimits,
    bytes_in_flight: BytesInFlight,
    requests: Arc<Semaphore>,
}

impl Service {
    /// Serves this engine.
    pub fn new(args: &ServeArgs, engine: Engine, tools: Tools) -> Self {
        let body = BodyLimits { bytes: args.speech_max_bytes, idle: BODY_PAUSE, total: BODY_TIME };
        let gauge = metrics::gauge!("sightline_speech_upload_bytes");
        let all = args.speech_max_bytes.saturating_mul(args.speech_requests);
        Self(Arc::new(Inner {
            engine,
            tools,
            api_key: args.speech_api_key.clone(),
            body,
            bytes_in_flight: BytesInFlight::new(all, all, gauge),
            requests: Arc::new(Semaphore::new(args.speech_requests)),
        }))
    }

    /// The routes, with those of `health`.
    pub fn router(&self, health: &Health) -> Router {
        let routes = Router::new()
            .route("/v1/audio/transcriptions", post(transcription::create))
            .route("/v1/models", get(model_list::list))
            .route("/v1/models/{model}", get(model_list::one))
            // The first one counts, so it is set before that of every service.
            .method_not_allowed_fallback(|| async { OpenAiError::wrong_method() })
            .with_state(self.clone());
        with_middleware(routes.merge(health.router())).fallback(|| async { OpenAiError::unknown_path() })
    }

    /// Checks the key, if one is set.
    fn authorise(&self, headers: &HeaderMap) -> Result<(), OpenAiError> {
        let Some(key) = &self.0.api_key else { return Ok(()) };
        let sent = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let is_right = match sent.split_at_checked(7) {
            Some((scheme, sent)) => {
                scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(sent.ct_eq(key.expose().as_bytes()))
            }
            None => false,
        };
        if is_right { Ok(()) } else { Err(OpenAiError::wrong_key()) }
    }

    /// A place among the requests that are served at the same time.
    fn place(&self) -> Result<OwnedSemaphorePermit, OpenAiError> {
        Arc::clone(&self.0.requests).try_acquire_owned().map_err(|_| OpenAiError::busy())
    }
}

/// Serves `listener` until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn run(
    service: &Service,
    health: &Health,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.into();
    let router = service.router(&health.clone().until(listener.leaving()));
    platform::http::serve(listener, router, Limits::default(), stop).await
}
