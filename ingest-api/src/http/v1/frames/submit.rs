//! `POST /v1/frames`: accepts an image, publishes a frame event, and responds 202 once the broker has stored it.

use std::time::Duration;

use accounts::Caller;
use api_kit::auth::Authorized;
use api_kit::error::ApiError;
use api_kit::extract::StrictQuery;
use api_kit::routes;
use api_kit::scope::FramesWrite;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::api::{FrameAccepted, FrameView};
use contracts::{
    BlobKey, BlobKind, DetectorName, FrameContent, FrameEvent, FrameId, RetentionDays, StreamName, whole_microseconds,
};
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use platform::query::{Invalid, Parameters, Query};
use store::TenantScope;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::app::App;
use crate::http::extract::{captured_at, moment};
use crate::http::v1::detectors;
use crate::http::v1::frames::image_body::{self, Image, ImageRequest};
use crate::http::v1::frames::prefer;
use crate::http::v1::submission::{
    IDEMPOTENCY_KEY, SubmissionError, SubmissionErrors, charged, claim, frame_id, publish, sending, traceparent,
};
use crate::http::v1::{subject_names, view};
use crate::probe::ImageType;
use crate::recent_keys::KeyClaim;
use crate::replies::ReplyWaiter;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Time limit for the broker's acknowledgement; then 503.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// The routes of this file.
pub fn routes() -> Routes {
    routes![submit]
}

/// The parameters of a frame.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NewFrame {
    /// The source, such as a camera: 1 to 64 characters out of A-Z a-z 0-9 . _ -. Frames of one stream keep their order.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    stream: Option<StreamName>,
    /// Capture time, in RFC 3339: 1970 or later, and at most an hour ahead of the server's clock; now, if
    /// missing.
    #[param(value_type = Option<String>, format = DateTime)]
    captured_at: Option<Timestamp>,
    /// The detectors to run, comma-separated. If missing, those of the stream's settings; without them, all.
    #[param(pattern = "^[a-z0-9_]{1,32}(,[a-z0-9_]{1,32})*$")]
    detectors: Option<String>,
}

impl Parameters for NewFrame {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let captured_at = moment(query, "captured_at")?.map(captured_at).transpose()?;
        Ok(Self { stream: query.parsed("stream")?, captured_at, detectors: query.text("detectors")? })
    }
}

/// The bytes of an image. The schema keeps the name under which it was published.
#[derive(ToSchema)]
#[schema(as = Picture, value_type = String, format = Binary)]
#[expect(dead_code, reason = "only described: the bytes are never parsed into it")]
pub struct ImageBytes(Vec<u8>);

/// A form with an image.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: the form is read field by field")]
pub struct ImageForm {
    /// The image. The field may also be called `image` or `frame`.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Sends a frame: the image as the body, or a form with the image in `file`, `image` or `frame`. It is
/// processed even if the whole system stops right after the response.
#[utoipa::path(
    post, path = "/v1/frames", operation_id = "send_frame", tag = "frames",
    params(
        NewFrame,
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[ -~]{1,255}$", description =
            "Names the frame: sent again, it is the same frame. Best a UUIDv7. With another image or other parameters it is \
             refused as `idempotency_key_reused`, for as long as the server remembers the key: some ten thousands of frames, and at most \
             until it restarts; after that, and on another replica, it is a repeat of the first. A request that is refused, because of \
             the quota for example, does not use up its key"),
        ("Prefer" = Option<String>, Header, example = "wait=5", description = "`wait=N`: respond with the results if they are complete within N seconds"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context: the frame, its results and its alerts continue this trace"),
    ),
    request_body(content(
        (ImageBytes = "image/jpeg"), (ImageBytes = "image/png"), (ImageBytes = "image/webp"), (ImageForm = "multipart/form-data")
    )),
    responses(
        (status = 202, body = FrameAccepted, description = "The frame is accepted",
            headers(
                ("Location" = String, description = "The path of its results"),
                ("Preference-Applied" = Option<String>, description = "`wait=N`, if the request waited"),
            )),
        (status = 200, body = FrameView, description = "The results, if the request waited for them and they were complete in time",
            headers(("Preference-Applied" = String, description = "`wait=N`"))),
        SubmissionErrors,
    )
)]
pub async fn submit(
    State(app): State<App>,
    sender: Authorized<FramesWrite>,
    StrictQuery(query): StrictQuery<NewFrame>,
    request: ImageRequest,
) -> Result<Response, ApiError> {
    if app.backlog.is_behind() {
        return Err(SubmissionError::Backlog.into());
    }
    let caller = &sender.caller;
    let frame = Frame::new(&app, caller, &query, &request.headers)?;
    let has_key = request.headers.contains_key(IDEMPOTENCY_KEY);
    let wait = prefer::wait(&request.headers).map(|wanted| wanted.min(app.config.ingest_wait));
    let image = image_body::receive(&app, request).await?;
    let NewFrame { stream, captured_at, detectors } = &query;
    let content = ("frame", stream, captured_at, detectors, &image.bytes);
    let mut key = claim(&app, has_key, frame.id, content)?;
    let Some(wait) = wait else {
        frame.send(&app, caller, image, None, &mut key).await?;
        return Ok(frame.accepted(&app));
    };
    let deadline = Instant::now() + wait;
    if has_key && let Some(view) = frame.earlier_results(&app, caller).await? {
        key.set_may_be_stored(true);
        return Ok(with_preference(Json(view).into_response(), wait));
    }
    let waiter = app.replies.register(frame.id);
    frame.send(&app, caller, image, waiter.as_ref(), &mut key).await?;
    drop(key);
    // Too many requests already wait. The response does not contain Preference-Applied.
    let Some(waiter) = waiter else { return Ok(frame.accepted(&app)) };
    let results = waiter.all(frame.expected(&app), deadline, &app.stop).await;
    let response = match results.as_ref().and_then(view::frame) {
        Some(mut view) => {
            subject_names::add(&app, caller, view.detections.iter_mut()).await;
            Json(view).into_response()
        }
        None => frame.accepted(&app),
    };
    Ok(with_preference(response, wait))
}

fn with_preference(mut response: Response, wait: Duration) -> Response {
    if let Ok(value) = HeaderValue::try_from(format!("wait={}", wait.as_secs())) {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
    response
}

/// The checked attributes of a frame.
struct Frame {
    id: FrameId,
    stream: Option<StreamName>,
    captured_at: Timestamp,
    /// `captured_at` of the response. `None` for an idempotency key without a time, because the
    /// frame may already exist with the time of its first request.
    known_captured_at: Option<Timestamp>,
    /// The detectors that the client or the stream's settings name; empty for all.
    requested: Vec<DetectorName>,
    retention: Option<RetentionDays>,
    traceparent: Option<String>,
}

impl Frame {
    fn new(app: &App, caller: &Caller, query: &NewFrame, headers: &HeaderMap) -> Result<Self, ApiError> {
        let settings = app.stream_settings.of(&caller.tenant, query.stream.as_ref());
        let requested = match &query.detectors {
            Some(listed) => detectors::known(app, listed.split(',').map(str::trim))?,
            None => settings.detectors.unwrap_or_default(),
        };
        let captured_at = query.captured_at.unwrap_or_else(|| whole_microseconds(Timestamp::now()));
        let may_be_a_repeat = query.captured_at.is_none() && headers.contains_key(IDEMPOTENCY_KEY);
        Ok(Self {
            id: frame_id(headers, caller)?,
            stream: query.stream.clone(),
            captured_at,
            known_captured_at: (!may_be_a_repeat).then_some(captured_at),
            requested,
            retention: settings.retention,
            traceparent: traceparent(headers),
        })
    }

    /// The detectors that process the frame.
    fn expected<'a>(&'a self, app: &'a App) -> &'a [DetectorName] {
        if self.requested.is_empty() { &app.detectors } else { &self.requested }
    }

    /// Charges and publishes the frame; returns once the broker has stored it.
    async fn send(
        &self,
        app: &App,
        caller: &Caller,
        image: Image,
        waiter: Option<&ReplyWaiter>,
        key: &mut KeyClaim<'_>,
    ) -> Result<(), ApiError> {
        let bytes = image.bytes.len();
        let reservation = image.reservation;
        charged(app, caller, self.id, self.publish(app, caller, image.kind, image.bytes, waiter, key)).await?;
        app.accepted.increment(1);
        app.accepted_bytes.increment(bytes as u64);
        if let Some(stream) = &self.stream {
            app.sent_frames.add(&caller.tenant, stream, self.id, self.captured_at);
        }
        // The reservation of the bytes is released after the broker has stored them.
        drop(reservation);
        Ok(())
    }

    async fn publish(
        &self,
        app: &App,
        caller: &Caller,
        kind: ImageType,
        image: Bytes,
        waiter: Option<&ReplyWaiter>,
        key: &mut KeyClaim<'_>,
    ) -> Result<(), ApiError> {
        let content = if image.len() > app.inline_bytes {
            let blob = BlobKey::new(BlobKind::Inbox, Timestamp::now(), &caller.tenant, self.id);
            app.blobs.put(&blob, image).await?;
            FrameContent::Blob(blob)
        } else {
            app.backlog.observe(image.len());
            FrameContent::Inline(image)
        };
        let (span, traceparent) = sending(app, "send frames", self.id, self.traceparent.as_ref());
        let event = FrameEvent {
            id: self.id,
            tenant: caller.tenant.clone(),
            stream: self.stream.clone(),
            captured_at: self.captured_at,
            detectors: self.requested.clone(),
            retention: self.retention,
            content_type: kind.media_type().to_owned(),
            content,
            reply_to: waiter.map(|_| app.replies.replica().to_owned()),
            traceparent,
        };
        publish(app, &event, ACK_TIMEOUT, key, span).await
    }

    /// The results of an earlier request with the same key, if they are complete.
    async fn earlier_results(&self, app: &App, caller: &Caller) -> Result<Option<FrameView>, ApiError> {
        let stored = app.documents.frame(&TenantScope::Tenant(caller.tenant.clone()), self.id).await?;
        let is_stored = |name: &DetectorName| stored.iter().any(|stored| stored.result.data.detector == *name);
        let all = self.expected(app).iter().all(is_stored);
        let mut view = if all { view::frame(stored.iter().map(|stored| &stored.result)) } else { None };
        subject_names::add(app, caller, view.iter_mut().flat_map(|frame| &mut frame.detections)).await;
        Ok(view)
    }

    fn accepted(&self, app: &App) -> Response {
        let url = format!("/v1/frames/{}", self.id);
        let location = [(LOCATION, url.clone())];
        let body = FrameAccepted {
            frame_id: self.id,
            stream: self.stream.clone(),
            captured_at: self.known_captured_at,
            detectors: self.expected(app).to_vec(),
            results_url: url,
        };
        (StatusCode::ACCEPTED, location, Json(body)).into_response()
    }
}
