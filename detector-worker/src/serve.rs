//! `detector-worker serve`: the detectors over HTTP, without a bus.
//!
//! In: `POST /detect` with a JPEG, PNG or WebP image; `?detector=` selects one if several run. Out:
//! `{"model", "width", "height", "detections": […]}`. A detector of `kind: http` expects this form, so a worker can
//! use such an engine for inference. The number of requests in flight is bounded; further ones are refused with 503
//! and `Retry-After` before their body is read. Work for a client that has disconnected is dropped before decoding and
//! before inference.

mod error;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use contracts::{Detection, DetectorName};
use futures::StreamExt;
use platform::Health;
use platform::http::{Limits, Listener, TooSlow};
use serde::{Deserialize, Serialize};
use settings::{Check, SettingErrors};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vision::inference::DetectorSpec;
use vision::media::Format;
use vision::pipeline::Pipeline;

use crate::config::{Config, SharedArgs};
use error::ServeError;

/// Time limit for the arrival of a body.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The response for one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Name of the model in `models.yaml`.
    pub model: String,
    /// Width of the upright image in pixels.
    pub width: u32,
    /// Height of the upright image in pixels.
    pub height: u32,
    /// The detections, in pixels of the upright image.
    pub detections: Vec<Detection>,
}

/// Serves detectors until `stop`.
///
/// # Errors
/// A detector cannot be opened, or the listener fails.
pub async fn serve(
    detectors: Vec<DetectorSpec>,
    config: Config,
    shared: SharedArgs,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    SettingErrors::result_of(|errors| config.check(errors))?;
    let listener = listener.into();
    let engine = Engine {
        pipeline: Pipeline::start(detectors, config.pipeline(&shared.frames)).await?,
        request_permits: Semaphore::new(config.capacity.worker_frames),
        body_kibibytes: Semaphore::new(
            kibibytes(config.capacity.worker_bytes.max(shared.frames.max_frame_bytes)) as usize
        ),
        max_bytes: shared.frames.max_frame_bytes,
    };
    tracing::info!("the engine serves {}/detect", listener.url()?);
    // The port opens after the models are loaded, so the engine is healthy whenever it responds.
    let health = Health::default().until(listener.leaving());
    platform::http::serve(listener, router(Arc::new(engine)).merge(health.router()), Limits::default(), stop).await
}

struct Engine {
    pipeline: Pipeline,
    /// One permit per request in flight.
    request_permits: Semaphore,
    /// Memory of their bodies, one permit per KiB.
    body_kibibytes: Semaphore,
    max_bytes: usize,
}

fn router(engine: Arc<Engine>) -> Router {
    let unknown_path = || async { ServeError::NotFound.into_response() };
    let other_method = || async { ServeError::Method.into_response() };
    let routes = Router::new().route("/detect", post(detect).fallback(other_method)).fallback(unknown_path);
    routes.with_state(engine)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DetectQuery {
    detector: Option<DetectorName>,
}

async fn detect(
    State(engine): State<Arc<Engine>>,
    query: Result<Query<DetectQuery>, axum::extract::rejection::QueryRejection>,
    body: Body,
) -> Result<Json<Answer>, ServeError> {
    let Query(query) = query.map_err(|error| ServeError::Query(error.body_text()))?;
    let detector = engine.detector_index(query.detector)?;
    let _request_permit = engine.request_permits.try_acquire().map_err(|_| ServeError::Busy)?;
    let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    if announced.is_some_and(|bytes| bytes > engine.max_bytes) {
        return Err(ServeError::TooLong(engine.max_bytes));
    }
    let share = kibibytes(announced.unwrap_or(engine.max_bytes));
    let _body_permits = engine.body_kibibytes.try_acquire_many(share).map_err(|_| ServeError::Busy)?;
    let reading = tokio::time::timeout(UPLOAD_TIMEOUT, read_body(body, engine.max_bytes));
    let encoded = reading.await.map_err(|_| ServeError::Slow)??;
    if Format::of(&encoded).is_none() {
        return Err(ServeError::NotAnImage);
    }
    engine.answer(detector, encoded).await
}

impl Engine {
    fn detector_index(&self, detector: Option<DetectorName>) -> Result<usize, ServeError> {
        let Some(name) = detector else { return Ok(0) };
        let mut running = self.pipeline.inferences().iter();
        running.position(|inference| *inference.name() == name).ok_or(ServeError::NoDetector(name))
    }

    /// The response for one image. The server drops this future when the client disconnects. That
    /// also releases the image's pixels, its decode permit and its slot in the queue of the
    /// detector.
    async fn answer(&self, detector: usize, encoded: Bytes) -> Result<Json<Answer>, ServeError> {
        let pixels = self.pipeline.reserve(&encoded).await.map_err(ServeError::Internal)?.map_err(ServeError::Image)?;
        let decoded = self
            .pipeline
            .decode(pixels, encoded, false)
            .await
            .map_err(ServeError::Internal)?
            .map_err(ServeError::Image)?;
        let image = &decoded.image;
        let outcome = self.pipeline.detect(image, &[detector]).await.map_err(ServeError::Internal)?.pop();
        let findings = match outcome {
            Some(Ok(findings)) => findings,
            Some(Err(error)) => return Err(ServeError::of(&error)),
            None => return Err(ServeError::Internal(anyhow::anyhow!("no detector is running"))),
        };
        let model = self.pipeline.inferences()[detector].model().to_owned();
        let (width, height) = (image.pixels.width(), image.pixels.height());
        Ok(Json(Answer { model, width, height, detections: findings.detections }))
    }
}

/// Bytes in KiB, rounded up and at least 1.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024).max(1)).unwrap_or(u32::MAX)
}

/// Reads a body of at most `limit` bytes.
async fn read_body(body: Body, limit: usize) -> Result<Bytes, ServeError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| if TooSlow::caused(&error) { ServeError::Slow } else { ServeError::Cut })?;
        if bytes.len() + chunk.len() > limit {
            return Err(ServeError::TooLong(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}
