//! Detections: those there are, and those made elsewhere.

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
use serde::Deserialize;
use store::{Cursor, DetectionFilter};

use crate::app::App;
use crate::http::docs::{Problems, UploadProblems};
use crate::http::extract::{Id, JsonBody, MayRead, MayWrite, NoQuery, Strict, moment, page, parsed, sound, span, text};
use crate::http::submit::{frame_id, traceparent};
use crate::http::{ApiError, Routes};
use crate::publish::publish;
use crate::view;

/// Who made a detection that does not say, and what stands where the model's name would.
const EXTERNAL: &str = "external";
/// No picture is larger than this, so no box or point lies further out, in pixels.
const FARTHEST: f64 = 1_000_000.0;

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/detections", get(list).post(create)), ("/v1/detections/{id}", get(one))]
}

/// Which detections.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Captured then or later, in RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Captured before, in RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Of this stream.
    stream: Option<String>,
    /// With this label.
    label: Option<String>,
    /// Of this category, without regard to case.
    category: Option<String>,
    /// Of this make.
    make: Option<String>,
    /// At least this sure.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 1)]
    min_confidence: Option<String>,
    /// Items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Asked {
    fn filter(self) -> Result<DetectionFilter, ApiError> {
        let (from, to) = (moment("from", self.from.as_deref())?, moment("to", self.to.as_deref())?);
        span(from, to)?;
        Ok(DetectionFilter {
            from,
            to,
            stream: parsed(self.stream.as_deref())?,
            label: text("label", self.label)?,
            category: text("category", self.category)?,
            make: text("make", self.make)?,
            min_confidence: self.min_confidence.as_deref().map(confidence).transpose()?,
        })
    }
}

fn confidence(text: &str) -> Result<f64, ApiError> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| ApiError::Invalid("min_confidence must be a number from 0 to 1".to_owned()))
}

/// Detections, newest first.
#[utoipa::path(
    get, path = "/v1/detections", tag = "detections", params(Asked),
    responses((status = 200, body = Page<DetectionView>), Problems)
)]
pub async fn list(
    State(app): State<App>,
    reader: MayRead,
    Strict(asked): Strict<Asked>,
) -> Result<Json<Page<DetectionView>>, ApiError> {
    let (page, limit) = page(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let mut stored = app.documents.detections(&reader.scope(), &asked.filter()?, &page).await?;
    let more = stored.len() > limit;
    stored.truncate(limit);
    let last = stored.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor { at: last.captured_at, id: last.id.to_string() }.encode());
    Ok(Json(Page { items: stored.into_iter().map(view::detection).collect(), next_cursor }))
}

/// One detection.
#[utoipa::path(
    get, path = "/v1/detections/{id}", tag = "detections",
    params(("id" = String, Path, description = "`<frame id>-<detector>-<n>`")),
    responses(
        (status = 200, body = DetectionView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none"),
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
    post, path = "/v1/detections", tag = "detections", request_body = NewDetection,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the detection: sent again, it is the same one")),
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
    let event = event(&caller, frame, new, detection, traceparent(&headers))?;
    app.accounts.charge(&caller, frame).await?;
    publish(&app, &event).await?;
    let id = DetectionId { frame, detector: event.data.detector, index: 0 };
    Ok((StatusCode::ACCEPTED, Json(DetectionAccepted { id: id.to_string(), frame_id: frame })).into_response())
}

/// Refuses boxes and points that no picture can hold.
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
    let captured_at = sound(new.captured_at.unwrap_or(now))
        .ok_or_else(|| ApiError::Invalid("captured_at must be 1970 or later".to_owned()))?;
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
