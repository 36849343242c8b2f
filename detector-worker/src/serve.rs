//! `detector-worker serve`: the detectors behind HTTP, without a log.
//!
//! In: `POST /detect` with the bytes of a JPEG, PNG or WebP image; `?detector=` chooses one where several run. Out, in the
//! same request: `{"model", "width", "height", "detections": […]}`, which is what a detector of `kind: http` asks for, so a
//! worker can have its inference done here. Requests in hand are bounded; beyond that they are refused with 503 and
//! `Retry-After` before their body is read.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use contracts::{Detection, DetectorName, FailureCode};
use futures::StreamExt;
use platform::http::{Limits, Listener, TooSlow};
use platform::{Common, Health, problem};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::inference::DetectorSpec;
use crate::media::Format;
use crate::model::DetectError;
use crate::pipeline::{Failure, Pipeline};

/// How long a body may take to arrive.
const UPLOAD: Duration = Duration::from_secs(30);

/// What an engine answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The model that was run, as `models.yaml` names it.
    pub model: String,
    /// Width of the upright picture in pixels.
    pub width: u32,
    /// Height of the upright picture in pixels.
    pub height: u32,
    /// What it saw, in pixels of the upright picture.
    pub detections: Vec<Detection>,
}

/// Serves detectors until `stop`.
///
/// # Errors
/// When a detector cannot be opened or the listener fails.
pub async fn serve(
    detectors: Vec<DetectorSpec>,
    config: Config,
    common: Common,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    config.check()?;
    let listener = listener.into();
    let engine = Engine {
        pipeline: Pipeline::start(detectors, &config, &common).await?,
        places: Semaphore::new(config.pace.worker_frames),
        kibibytes: Semaphore::new(kibibytes(config.pace.worker_bytes.max(common.max_frame_bytes)) as usize),
        max_bytes: common.max_frame_bytes,
    };
    tracing::info!("the engine answers on {}/detect", listener.url()?);
    platform::http::serve(listener, router(Arc::new(engine)), Limits::default(), stop).await
}

struct Engine {
    pipeline: Pipeline,
    /// Requests in hand at most.
    places: Semaphore,
    /// Memory for their bodies.
    kibibytes: Semaphore,
    max_bytes: usize,
}

fn router(engine: Arc<Engine>) -> Router {
    let unknown = || async { Refusal::NotFound.into_response() };
    let other = || async { Refusal::Method.into_response() };
    let routes = Router::new().route("/detect", post(detect).fallback(other)).fallback(unknown);
    // The port opens once the models are loaded, so whoever is answered at all finds it ready.
    routes.with_state(engine).merge(Health::default().router())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    detector: Option<DetectorName>,
}

async fn detect(
    State(engine): State<Arc<Engine>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
    body: Body,
) -> Result<Json<Answer>, Refusal> {
    let Query(asked) = asked.map_err(|error| Refusal::Query(error.body_text()))?;
    let place = engine.place_of(asked.detector)?;
    let _place = engine.places.try_acquire().map_err(|_| Refusal::Busy)?;
    let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    if announced.is_some_and(|bytes| bytes > engine.max_bytes) {
        return Err(Refusal::TooLong(engine.max_bytes));
    }
    let share = kibibytes(announced.unwrap_or(engine.max_bytes));
    let _memory = engine.kibibytes.try_acquire_many(share).map_err(|_| Refusal::Busy)?;
    let reading = tokio::time::timeout(UPLOAD, read(body, engine.max_bytes));
    let encoded = reading.await.map_err(|_| Refusal::Slow)??;
    if Format::of(&encoded).is_none() {
        return Err(Refusal::NotAnImage);
    }
    engine.answer(place, encoded).await
}

impl Engine {
    fn place_of(&self, detector: Option<DetectorName>) -> Result<usize, Refusal> {
        let Some(wanted) = detector else { return Ok(0) };
        let mut running = self.pipeline.inferences().iter();
        running.position(|inference| *inference.name() == wanted).ok_or(Refusal::NoDetector(wanted))
    }

    async fn answer(&self, place: usize, encoded: Bytes) -> Result<Json<Answer>, Refusal> {
        let room = self.pipeline.room(&encoded).await.map_err(Refusal::Internal)?.map_err(Refusal::Picture)?;
        let decoded =
            self.pipeline.decode(room, encoded).await.map_err(Refusal::Internal)?.map_err(Refusal::Picture)?;
        let picture = &decoded.picture;
        let outcome = self.pipeline.detect(picture, &[place]).await.map_err(Refusal::Internal)?.pop();
        let detections = match outcome {
            Some(Ok(detections)) => detections,
            Some(Err(error)) => return Err(Refusal::of(&error)),
            None => return Err(Refusal::Internal(anyhow::anyhow!("no detector runs"))),
        };
        let model = self.pipeline.inferences()[place].model().to_owned();
        let (width, height) = (picture.image.width(), picture.image.height());
        Ok(Json(Answer { model, width, height, detections }))
    }
}

/// Kibibytes that hold so many bytes, at least 1.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024).max(1)).unwrap_or(u32::MAX)
}

/// The body, as long as it is no longer than `limit`.
async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| if TooSlow::caused(&error) { Refusal::Slow } else { Refusal::Cut })?;
        if bytes.len() + chunk.len() > limit {
            return Err(Refusal::TooLong(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the query reads ?detector=<name> or is empty: {0}")]
    Query(String),
    #[error("the detector {0} does not run here")]
    NoDetector(DetectorName),
    #[error("the body must be a JPEG, PNG or WebP image")]
    NotAnImage,
    #[error("the image is longer than {0} bytes; send a smaller one")]
    TooLong(usize),
    #[error("the body ended before its time")]
    Cut,
    #[error("the body took too long to arrive; it must keep coming, and be there within {UPLOAD:?}")]
    Slow,
    #[error("{}", .0.message)]
    Picture(Failure),
    #[error("the engine behind the detector refused the picture: {0}")]
    Rejected(String),
    #[error("the detector gave no answer; try again")]
    NoAnswer,
    #[error("too many pictures are in hand; try again in a second")]
    Busy,
    #[error("there is nothing here; post an image to /detect")]
    NotFound,
    #[error("post an image")]
    Method,
    #[error("the engine failed")]
    Internal(anyhow::Error),
}

impl Refusal {
    fn of(error: &DetectError) -> Self {
        if error.failure().is_some() {
            return Self::Rejected(error.to_string());
        }
        tracing::warn!(%error, "the detector gave no answer");
        Self::NoAnswer
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Query(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
            Self::NoDetector(_) => (StatusCode::NOT_FOUND, "unknown_detector"),
            Self::NotAnImage => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Cut => (StatusCode::BAD_REQUEST, "incomplete_body"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "slow_body"),
            Self::Picture(failure) if failure.code == FailureCode::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, failure.code.as_str())
            }
            Self::Picture(failure) => (StatusCode::UNPROCESSABLE_ENTITY, failure.code.as_str()),
            Self::Rejected(_) => (StatusCode::UNPROCESSABLE_ENTITY, FailureCode::Rejected.as_str()),
            Self::NoAnswer => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(error = format!("{cause:#}"), "request failed");
        }
        let (status, code) = self.status_and_code();
        let mut response = problem::response(status, code, self.to_string());
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        response
    }
}
