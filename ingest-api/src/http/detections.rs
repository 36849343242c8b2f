//! Detections: those there are, and those made elsewhere.

use std::time::Duration;

use accounts::Caller;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::api::{DetectionAccepted, DetectionView, NewDetection, Page, Problem};
use contracts::result::ResultData;
use contracts::{BoundingBox, Detection, DetectionId, DetectorName, FrameId, Outcome, ResultEvent};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use platform::query::{Invalid, Parameters, Query};
use store::{Cursor, DetectionFilter};

use crate::app::App;
use crate::http::docs::{Problems, UploadProblems};
use crate::http::extract::{Id, Listed, MayRead, MayWrite, NoQuery, Strict, captured_at, text};
use crate::http::json::JsonBody;
use crate::http::submit::{IDEMPOTENCY_KEY, charged, frame_id, traceparent};
use crate::http::{ApiError, Routes};
use crate::publish::publish;
use crate::view;

/// Who made a detection that does not say, and what stands where the model's name would.
const EXTERNAL: &str = "external";
/// No image is larger than this, so no box or point lies further out, in pixels.
const FARTHEST: f64 = 1_000_000.0;

/// How long the log may take: less than what an answer may, so that what it does not take is not charged.
const PATIENCE: Duration = Duration::from_secs(12);

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/detections", get(list).post(create)), ("/v1/detections/{id}", get(one))]
}

/// Which detections, besides what every list takes.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// With this label.
    #[param(min_length = 1, max_length = 128)]
    label: Option<String>,
    /// Of this category, without regard to case.
    #[param(min_length = 1, max_length = 128)]
    category: Option<String>,
    /// Of this make.
    #[param(min_length = 1, max_length = 128)]
    make: Option<String>,
    /// At least this sure.
    #[param(minimum = 0, maximum = 1)]
    min_confidence: Option<f64>,
}

impl Parameters for Asked {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self {
            label: text(query, "label")?,
            category: text(query, "category")?,
            make: text(query, "make")?,
            min_confidence: query.text("min_confidence")?.as_deref().map(confidence).transpose()?,
        })
    }
}

fn confidence(text: &str) -> Result<f64, Invalid> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| Invalid("min_confidence must be a number from 0 to 1".to_owned()))
}

/// Detections, newest first.
#[utoipa::path(
    get, path = "/v1/detections", operation_id = "list_detections", security(("oauth2" = ["detections:read"]), ("bearer" = [])), tag = "detections", params(Listed, Asked),
    responses((status = 200, body = Page<DetectionView>), Problems)
)]
pub async fn list(
    State(app): State<App>,
    reader: MayRead,
    Strict((listed, asked)): Strict<(Listed, Asked)>,
) -> Result<Json<Page<DetectionView>>, ApiError> {
    let Asked { label, category, make, min_confidence } = asked;
    let (from, to, stream) = (listed.from, listed.to, listed.stream.clone());
    let filter =
        DetectionFilter { from, to, stream, label, category, make, min_confidence, ..DetectionFilter::default() };
    let stored = app.documents.detections(&reader.scope(), &filter, &listed.asked()).await?;
    let items = stored.into_iter().map(view::detection).collect();
    Ok(Json(listed.page(items, |last: &DetectionView| Cursor { at: last.captured_at, id: last.id.clone() })))
}

/// One detection.
#[utoipa::path(
    get, path = "/v1/detections/{id}", operation_id = "get_detection", security(("oauth2" = ["detections:read"]), ("bearer" = [])), tag = "detections",
    params(("id" = String, Path, description = "`<frame id>-<detector>-<n>`", pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[a-z0-9_]{1,32}-[0-9]{1,9}$")),
    responses(
        (status = 200, body = DetectionView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: there is none"),
        Problems,
    )
)]
pub async fn one(
    State(app): State<App>,
    reader: MayRead,
    Id(id): Id<DetectionId>,
    _: NoQuery,
) -> Result<Json<DetectionView>, ApiError> {
    let found = app.documents.detection(&reader.scope(), &id).await?;
    let found = found.ok_or_else(|| ApiError::NotFound(format!("there is no detection {id}")))?;
    Ok(Json(view::detection(found)))
}

/// Sends a detection made elsewhere through the same pipeline: it is kept, counted and may raise alerts.
#[utoipa::path(
    post, path = "/v1/detections", operation_id = "send_detection", security(("oauth2" = ["frames:write"]), ("bearer" = [])), tag = "detections", request_body = NewDetection,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the detection: sent again, it is the same one", pattern = "^[ -~]{1,255}$")),
    responses((status = 202, body = DetectionAccepted), UploadProblems)
)]
pub async fn create(
    State(app): State<App>,
    MayWrite(caller): MayWrite,
    headers: HeaderMap,
    _: NoQuery,
    JsonBody(new): JsonBody<NewDetection>,
) -> Result<Response, ApiError> {
    let detection = new.detection().map_err(ApiError::Invalid)?;
    near(&detection)?;
    let frame = frame_id(&headers, &caller)?;
    let request = serde_json::to_string(&new).map_err(|error| ApiError::Internal(error.into()))?;
    if headers.contains_key(IDEMPOTENCY_KEY) && !app.recent_keys.agrees(frame, ("detection", request)) {
        return Err(ApiError::KeyReused);
    }
    let event = event(&caller, frame, new, detection, traceparent(&headers))?;
    charged(&app, &caller, frame, publish(&app, &event, PATIENCE)).await?;
    let id = DetectionId { frame, detector: event.data.detector, index: 0 };
    Ok((StatusCode::ACCEPTED, Json(DetectionAccepted { id: id.to_string(), frame_id: frame })).into_response())
}

/// Refuses boxes and points that no image can hold.
fn near(detection: &Detection) -> Result<(), ApiError> {
    let of_box = |bounds: &BoundingBox| [bounds.x, bounds.y, bounds.width, bounds.height];
    let in_box = detection.bounds.iter().flat_map(of_box);
    let in_points = detection.landmarks.iter().flat_map(|point| [point.x, point.y]);
    if in_box.chain(in_points).all(|number| number.abs() <= FARTHEST) {
        return Ok(());
    }
    Err(ApiError::Invalid(format!("box and landmarks must lie within {FARTHEST} pixels")))
}

fn event(
    caller: &Caller,
    frame: FrameId,
    new: NewDetection,
    detection: Detection,
    traceparent: Option<String>,
) -> Result<ResultEvent, ApiError> {
    let now = Timestamp::now();
    let captured_at = captured_at(new.captured_at.unwrap_or(now))?;
    let detector: DetectorName = match new.detector {
        Some(name) => name,
        None => EXTERNAL.parse()?,
    };
    let key = new.stream.as_ref().map_or_else(|| frame.to_string(), |stream| format!("{}/{stream}", caller.tenant));
    Ok(ResultEvent {
        // The frame's own: a repeat under the same key is the same result.
        id: frame.uuid(),
        tenant: caller.tenant.clone(),
        key,
        traceparent,
        reply_to: None,
        data: ResultData {
            frame_id: frame,
            stream: new.stream,
            detector,
            model: EXTERNAL.to_owned(),
            captured_at,
            processed_at: now,
            outcome: Outcome::Ok { width: 0, height: 0, detections: vec![detection], image: None },
        },
    })
}
