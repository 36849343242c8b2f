//! `POST /v1/frames`: one image in, one event out, and 202 once the log has it.

use std::time::Duration;

use accounts::Caller;
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use contracts::api::{FrameAccepted, FrameView};
use contracts::{DetectorName, FrameContent, FrameEvent, FrameId, StreamName};
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use platform::query::{Invalid, Parameters, Query};
use store::{INBOX, Scope};
use tokio::time::Instant;

use crate::app::App;
use crate::http::docs::{Image, ImageForm, UploadProblems};
use crate::http::extract::{MayWrite, Strict, captured_at, moment};
use crate::http::image::{self, Image as ReceivedImage};
use crate::http::prefer;
use crate::http::{ApiError, Routes};
use crate::probe::ImageType;
use crate::publish::publish;
use crate::view;
use crate::waiting::Ticket;

/// Names a frame, so that a repeat is the same one.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How long the log may take to acknowledge before the client is told to try again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/frames", post(submit))]
}

/// What a frame is sent with.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NewFrame {
    /// Where it comes from: 1 to 64 characters out of A-Z a-z 0-9 . _ -; without one it has no order among other frames.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    stream: Option<StreamName>,
    /// When the image was taken, in RFC 3339: 1970 or later, and at most an hour ahead of the server's clock; now, where it
    /// is missing.
    #[param(value_type = Option<String>, format = DateTime)]
    captured_at: Option<Timestamp>,
    /// Which detectors shall look at it, comma-separated; all there are, where it is missing.
    #[param(pattern = "^[a-z0-9_]{1,32}(,[a-z0-9_]{1,32})*$")]
    detectors: Option<String>,
}

impl Parameters for NewFrame {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        let taken = moment(query, "captured_at")?.map(captured_at).transpose()?;
        Ok(Self { stream: query.parsed("stream")?, captured_at: taken, detectors: query.text("detectors")? })
    }
}

/// Sends a frame: the image as the body, or a form with the image in `file`, `image` or `frame`. It will be looked at even
/// if everything stops right after the answer.
#[utoipa::path(
    post, path = "/v1/frames", operation_id = "send_frame", security(("oauth2" = ["frames:write"]), ("bearer" = [])), tag = "frames",
    params(
        NewFrame,
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[ -~]{1,255}$", description =
            "Names the frame: sent again, it is the same frame. Best a UUIDv7. With another image or other parameters it is \
             refused as `idempotency_key_reused`, for as long as the server remembers the key: some ten thousands of frames, and no \
             longer than it runs; after that, and on another replica, it counts as a repeat"),
        ("Prefer" = Option<String>, Header, example = "wait=5", description = "`wait=N`: answer with the results, if they are there within N seconds"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context, passed on with the frame"),
    ),
    request_body(content(
        (Image = "image/jpeg"), (Image = "image/png"), (Image = "image/webp"), (ImageForm = "multipart/form-data")
    )),
    responses(
        (status = 202, body = FrameAccepted, description = "The frame was taken",
            headers(
                ("Location" = String, description = "Where its results will be"),
                ("Preference-Applied" = Option<String>, description = "`wait=N`, where the request waited"),
            )),
        (status = 200, body = FrameView, description = "The results, where the request waits for them and they came in time",
            headers(("Preference-Applied" = String, description = "`wait=N`"))),
        UploadProblems,
    )
)]
pub async fn submit(
    State(app): State<App>,
    MayWrite(caller): MayWrite,
    Strict(asked): Strict<NewFrame>,
    request: Request,
) -> Result<Response, ApiError> {
    if app.backlog.is_behind() {
        return Err(ApiError::Backlog);
    }
    let (parts, body) = request.into_parts();
    let frame = Frame::read(&app, &caller, &asked, &parts.headers)?;
    let image = image::receive(&app, &parts.headers, body).await?;
    let has_key = parts.headers.contains_key(IDEMPOTENCY_KEY);
    let NewFrame { stream, captured_at, detectors } = &asked;
    if has_key && !app.recent_keys.agrees(frame.id, ("frame", stream, captured_at, detectors, &image.bytes)) {
        return Err(ApiError::KeyReused);
    }
    let wait = prefer::wait(&parts.headers).map(|wanted| wanted.min(app.config.longest_wait()));
    let Some(wait) = wait else {
        frame.send(&app, &caller, image, None).await?;
        return Ok(frame.accepted());
    };
    let deadline = Instant::now() + wait;
    if has_key && let Some(done) = frame.done_before(&app, &caller).await? {
        return Ok(applied(Json(done).into_response(), wait));
    }
    let ticket = app.waiting.enter(frame.id);
    frame.send(&app, &caller, image, ticket.as_ref()).await?;
    // Too many wait already: the preference is not applied, and the answer does not say that it was.
    let Some(ticket) = ticket else { return Ok(frame.accepted()) };
    let results = ticket.all(&frame.expected, deadline, &app.stop).await;
    let answer = match results.as_ref().and_then(view::frame) {
        Some(view) => Json(view).into_response(),
        None => frame.accepted(),
    };
    Ok(applied(answer, wait))
}

fn applied(mut response: Response, wait: Duration) -> Response {
    if let Ok(value) = HeaderValue::try_from(format!("wait={}", wait.as_secs())) {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
    response
}

/// A frame's attributes, checked.
struct Frame {
    id: FrameId,
    stream: Option<StreamName>,
    captured_at: Timestamp,
    /// When it was captured, as far as this request can know: under an idempotency key the frame may be there already, with the
    /// time at which it came first.
    told: Option<Timestamp>,
    /// What the client asked for; empty for every detector there is.
    asked: Vec<DetectorName>,
    /// Who will look at it.
    expected: Vec<DetectorName>,
    traceparent: Option<String>,
}

impl Frame {
    fn read(app: &App, caller: &Caller, asked: &NewFrame, headers: &HeaderMap) -> Result<Self, ApiError> {
        let names = detectors(app, asked.detectors.as_deref())?;
        let captured_at = asked.captured_at.unwrap_or_else(Timestamp::now);
        let may_be_a_repeat = asked.captured_at.is_none() && headers.contains_key(IDEMPOTENCY_KEY);
        Ok(Self {
            id: frame_id(headers, caller)?,
            stream: asked.stream.clone(),
            captured_at,
            told: (!may_be_a_repeat).then_some(captured_at),
            expected: if names.is_empty() { app.detectors.clone() } else { names.clone() },
            asked: names,
            traceparent: traceparent(headers),
        })
    }

    /// Charges and publishes it; returns when the log has it.
    async fn send(
        &self,
        app: &App,
        caller: &Caller,
        image: ReceivedImage,
        ticket: Option<&Ticket>,
    ) -> Result<(), ApiError> {
        let bytes = image.bytes.len();
        let reservation = image.reservation;
        charged(app, caller, self.id, self.publish(app, caller, image.kind, image.bytes, ticket)).await?;
        app.accepted.increment(1);
        app.accepted_bytes.increment(bytes as u64);
        // The log has the image; only now its bytes are no longer held here.
        drop(reservation);
        Ok(())
    }

    async fn publish(
        &self,
        app: &App,
        caller: &Caller,
        kind: ImageType,
        image: Bytes,
        ticket: Option<&Ticket>,
    ) -> Result<(), ApiError> {
        let content = if image.len() > app.inline_bytes {
            let key = format!("{INBOX}/{}/{}/{}", today(), caller.tenant, self.id);
            app.blobs.put(&key, image).await?;
            FrameContent::Blob(key)
        } else {
            FrameContent::Inline(image)
        };
        let event = FrameEvent {
            id: self.id,
            tenant: caller.tenant.clone(),
            stream: self.stream.clone(),
            captured_at: self.captured_at,
            detectors: self.asked.clone(),
            content_type: kind.media_type().to_owned(),
            content,
            reply_to: ticket.map(|_| app.waiting.replica().to_owned()),
            traceparent: self.traceparent.clone(),
        };
        publish(app, &event, PATIENCE).await
    }

    /// What is known of it from an earlier time that it was sent, if every detector has answered.
    async fn done_before(&self, app: &App, caller: &Caller) -> Result<Option<FrameView>, ApiError> {
        let stored = app.documents.frame(&Scope::Tenant(caller.tenant.clone()), self.id).await?;
        let answered = |name: &DetectorName| stored.iter().any(|stored| stored.result.data.detector == *name);
        let all = self.expected.iter().all(answered);
        Ok(if all { view::frame(stored.iter().map(|stored| &stored.result)) } else { None })
    }

    fn accepted(&self) -> Response {
        let url = format!("/v1/frames/{}", self.id);
        let location = [(LOCATION, url.clone())];
        let body = FrameAccepted {
            frame_id: self.id,
            stream: self.stream.clone(),
            captured_at: self.told,
            detectors: self.expected.clone(),
            results_url: url,
        };
        (StatusCode::ACCEPTED, location, Json(body)).into_response()
    }
}

/// Charges a frame and takes it in; what is refused after all costs nothing.
///
/// # Errors
/// When the quota is used up, or why it was not taken in.
pub async fn charged(
    app: &App,
    caller: &Caller,
    frame: FrameId,
    taking: impl Future<Output = Result<(), ApiError>>,
) -> Result<(), ApiError> {
    app.accounts.charge(caller, frame).await?;
    let taken = taking.await;
    if taken.is_err()
        && let Err(error) = app.accounts.refund(caller, frame).await
    {
        tracing::warn!(frame.id = %frame, error = error.to_string(), "a refused frame stays charged");
    }
    taken
}

/// The id under which the client sends: always the same for the same key.
pub fn frame_id(headers: &HeaderMap, caller: &Caller) -> Result<FrameId, ApiError> {
    match headers.get(IDEMPOTENCY_KEY) {
        None => Ok(FrameId::now()),
        Some(key) => Ok(FrameId::from_idempotency_key(&caller.tenant, key.to_str().unwrap_or_default())?),
    }
}

/// Trace context, if the client sent one that reads; another is as good as none.
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let sound = parts.len() == 4 && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && hex(part));
    sound.then(|| text.to_owned())
}

fn detectors(app: &App, listed: Option<&str>) -> Result<Vec<DetectorName>, ApiError> {
    let Some(listed) = listed else { return Ok(Vec::new()) };
    let mut names: Vec<DetectorName> = Vec::new();
    for name in listed.split(',').map(str::trim) {
        let Some(known) = app.detectors.iter().find(|known| known.as_str() == name) else {
            let all: Vec<&str> = app.detectors.iter().map(DetectorName::as_str).collect();
            return Err(ApiError::Invalid(format!("detectors: there is no {name:?}; there are {}", all.join(", "))));
        };
        if !names.contains(known) {
            names.push(known.clone());
        }
    }
    Ok(names)
}

fn today() -> String {
    Timestamp::now().to_zoned(TimeZone::UTC).date().to_string()
}
