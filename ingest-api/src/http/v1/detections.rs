//! Detections: reads them, and accepts those of external producers.

use std::time::Duration;

use accounts::Caller;
use api_kit::auth::Authorized;
use api_kit::error::{ApiError, HttpError, RequestError, ServiceError};
use api_kit::extract::{NoQuery, PathId, StrictQuery};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use api_kit::scope::{DetectionsRead, FramesWrite};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::api::{DetectionAccepted, DetectionView, NewDetection, Page, Problem};
use contracts::result::ResultData;
use contracts::{BoundingBox, Detection, DetectionId, DetectorName, FrameId, Outcome, ResultEvent, whole_microseconds};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use platform::query::{Invalid, Parameters, Query};
use store::{DetectionFilter, List, PageCursor, PageRequest};

use crate::http::Routes;
use crate::http::app::App;
use crate::http::extract::attributes::AttributeFilters;
use crate::http::extract::{ListQuery, captured_at, text};
use crate::http::v1::submission::{
    IDEMPOTENCY_KEY, SubmissionErrors, charged, claim, frame_id, publish, sending, traceparent,
};
use crate::http::v1::{subject_filter, subject_names, view};

/// Model of every submitted detection, and the default of its detector.
const EXTERNAL: &str = "external";
/// Largest absolute value of a coordinate, in pixels. Accepted images are smaller.
const MAX_COORDINATE: f64 = 1_000_000.0;

/// Time limit for the broker's acknowledgement. It is shorter than the time limit of the request, so that a frame that is not
/// acknowledged is still refunded to the quota before the client gets its response.
const ACK_TIMEOUT: Duration = Duration::from_secs(12);

/// Why a detection is not found.
#[derive(Debug, thiserror::Error)]
enum DetectionError {
    /// No detection has the id.
    #[error("there is no detection {0}")]
    NotFound(DetectionId),
}

impl HttpError for DetectionError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
        }
    }
}

pub fn routes() -> Routes {
    routes![list, one, create]
}

/// Filters of a list of detections.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DetectionQuery {
    /// With this label.
    #[param(min_length = 1, max_length = 128)]
    label: Option<String>,
    /// Category, in any case.
    #[param(min_length = 1, max_length = 128)]
    category: Option<String>,
    /// Make of a vehicle.
    #[param(min_length = 1, max_length = 128)]
    make: Option<String>,
    /// Minimum confidence.
    #[param(minimum = 0, maximum = 1)]
    min_confidence: Option<f64>,
}

impl Parameters for DetectionQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
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
    get, path = "/v1/detections", operation_id = "list_detections", tag = "detections",
    params(ListQuery, DetectionQuery, AttributeFilters),
    responses((status = 200, body = Page<DetectionView>))
)]
pub async fn list(
    State(app): State<App>,
    caller: Authorized<DetectionsRead>,
    StrictQuery((listed, filters)): StrictQuery<(ListQuery, (DetectionQuery, AttributeFilters))>,
) -> Result<Json<Page<DetectionView>>, ApiError> {
    let (query, attributes) = filters;
    let DetectionQuery { label, category, make, min_confidence } = query;
    let filter = DetectionFilter {
        from: listed.from,
        to: listed.to,
        stream: listed.stream.clone(),
        label,
        category,
        make,
        attributes: subject_filter::values(&app, &caller.caller, attributes).await?,
        min_confidence,
        vehicles_only: false,
    };
    let scope = caller.tenant_scope();
    let read = |page: PageRequest| {
        let (documents, scope, filter) = (&app.documents, &scope, &filter);
        async move {
            let stored = documents.detections(scope, filter, &page).await?;
            Ok::<Vec<_>, ApiError>(stored.into_iter().map(view::detection).collect())
        }
    };
    let position = |last: &DetectionView| PageCursor { at: last.captured_at, id: last.id.clone() };
    let mut page = listed.page(List::Detections, read, position).await?;
    subject_names::add(&app, &caller.caller, page.items.iter_mut()).await;
    Ok(Json(page))
}

/// One detection.
#[utoipa::path(
    get, path = "/v1/detections/{id}", operation_id = "get_detection", tag = "detections",
    params(("id" = String, Path, description = "`<frame id>-<detector>-<n>`", pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[a-z0-9_]{1,32}-[0-9]{1,9}$")),
    responses(
        (status = 200, body = DetectionView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no detection has the id"),
    )
)]
pub async fn one(
    State(app): State<App>,
    caller: Authorized<DetectionsRead>,
    PathId(id): PathId<DetectionId>,
    _: NoQuery,
) -> Result<Json<DetectionView>, ApiError> {
    let found = app.documents.detection(&caller.tenant_scope(), &id).await?;
    let found = found.ok_or(DetectionError::NotFound(id))?;
    let mut found = view::detection(found);
    subject_names::add(&app, &caller.caller, std::iter::once(&mut found)).await;
    Ok(Json(found))
}

/// Sends a detection of an external program. It is stored and counted like others, and may raise alerts.
#[utoipa::path(
    post, path = "/v1/detections", operation_id = "send_detection", tag = "detections", request_body = NewDetection,
    params(("Idempotency-Key" = Option<String>, Header, description = "Identifies the detection: a repeated request is the same detection", pattern = "^[ -~]{1,255}$")),
    responses((status = 202, body = DetectionAccepted), SubmissionErrors)
)]
pub async fn create(
    State(app): State<App>,
    sender: Authorized<FramesWrite>,
    headers: HeaderMap,
    _: NoQuery,
    JsonBody(new): JsonBody<NewDetection>,
) -> Result<Response, ApiError> {
    let caller = &sender.caller;
    let detection = new.detection().map_err(RequestError::Invalid)?;
    check_coordinates(&detection)?;
    let frame = frame_id(&headers, caller)?;
    let request = serde_json::to_string(&new).map_err(|error| ServiceError::Internal(error.into()))?;
    let mut key = claim(&app, headers.contains_key(IDEMPOTENCY_KEY), frame, ("detection", request))?;
    let (span, traceparent) = sending(&app, "send results", frame, traceparent(&headers).as_ref());
    let retention = app.stream_settings.of(&caller.tenant, new.stream.as_ref()).retention;
    let event = ResultEvent { retention, ..event(caller, frame, new, detection, traceparent)? };
    charged(&app, caller, frame, publish(&app, &event, ACK_TIMEOUT, &mut key, span)).await?;
    if let Some(stream) = &event.data.stream {
        app.sent_frames.add(&caller.tenant, stream, frame, event.data.captured_at);
    }
    let id = DetectionId { frame, detector: event.data.detector, index: 0 };
    Ok((StatusCode::ACCEPTED, Json(DetectionAccepted { id: id.to_string(), frame_id: frame })).into_response())
}

/// Refuses coordinates outside of every possible image.
fn check_coordinates(detection: &Detection) -> Result<(), RequestError> {
    let of_box = |bounds: &BoundingBox| [bounds.x, bounds.y, bounds.width, bounds.height];
    let in_box = detection.bounds.iter().flat_map(of_box);
    let in_points = detection.landmarks.iter().flat_map(|point| [point.x, point.y]);
    if in_box.chain(in_points).all(|number| number.abs() <= MAX_COORDINATE) {
        return Ok(());
    }
    Err(RequestError::Invalid(format!("box and landmarks must be within {MAX_COORDINATE} pixels")))
}

fn event(
    caller: &Caller,
    frame: FrameId,
    new: NewDetection,
    detection: Detection,
    traceparent: Option<String>,
) -> Result<ResultEvent, ApiError> {
    let now = whole_microseconds(Timestamp::now());
    let captured_at = captured_at(new.captured_at.unwrap_or(now))?;
    let detector: DetectorName = match new.detector {
        Some(name) => name,
        None => EXTERNAL.parse()?,
    };
    let key = new.stream.as_ref().map_or_else(|| frame.to_string(), |stream| format!("{}/{stream}", caller.tenant));
    Ok(ResultEvent {
        // The id of the frame: a repeated request with the same key is the same result.
        id: frame.uuid(),
        tenant: caller.tenant.clone(),
        key,
        traceparent,
        reply_to: None,
        retention: None,
        data: ResultData {
            frame_id: frame,
            stream: new.stream,
            detector,
            model: EXTERNAL.to_owned(),
            captured_at,
            processed_at: now,
            // The client sends no image, so its size is unknown: 0.
            outcome: Outcome::Ok { width: 0, height: 0, detections: vec![detection], image: None },
        },
    })
}
