//! Streams of the caller's tenant: their settings, what programs report about them, and what they sent.
//!
//! A stream appears in the list when it gets settings or a report, or about two seconds after its first frame. Without settings it
//! disappears a week after its last frame or report. A tenant has a bounded list of them. Whoever may only send frames can fill it with
//! names, but the report of a new stream displaces only a stream that was silent for a day, and its frames none.

use api_kit::auth::{AuthError, Authorized};
use api_kit::error::{ApiError, HttpError, RequestError};
use api_kit::extract::{DEFAULT_LIMIT, NoQuery, PathId, StrictQuery, cursor_of, limit, page};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use api_kit::scope::{DetectionsRead, FramesWrite, RulesWrite};
use axum::Json;
use axum::extract::State;
use contracts::api::{
    Page, Problem, ReportedState, StreamReport, StreamSettings as NewSettings, StreamState, StreamStateView, StreamView,
};
use contracts::{FrameId, StreamName};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use platform::query::{Invalid, Parameters, Query};
use store::{CursorError, LagSearch, List, PageCursor, PutStreamOutcome, StoredReport, StoredStream, StreamSettings};

use crate::http::Routes;
use crate::http::app::App;
use crate::http::extract::reported_time;
use crate::http::v1::active_user::{check_active, is_active};
use crate::http::v1::detectors;
use crate::sent_frames::MAX_STREAMS;

/// Time after which a report that was not renewed says nothing about the present.
const REPORT_HOLDS_FOR: SignedDuration = SignedDuration::from_secs(60);

/// Why a stream is not found or stored.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// The caller has no such stream.
    #[error("there is no stream {0}")]
    NotFound(StreamName),
    /// The tenant has [`MAX_STREAMS`] with settings.
    #[error("there are already {MAX_STREAMS} streams with settings; delete one first")]
    TooMany,
    /// The tenant has [`MAX_STREAMS`], and a new one may take the place of none.
    #[error(
        "there are already {MAX_STREAMS} streams, and none without settings was silent for a day; delete one (DELETE \
         /v1/streams/NAME), or set this one up first (PUT /v1/streams/NAME)"
    )]
    NoRoom,
}

impl HttpError for StreamError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::TooMany | Self::NoRoom => (StatusCode::CONFLICT, "conflict"),
        }
    }
}

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, one, set, remove, report]
}

/// The stream in a path. `.` and `..` would be other paths.
#[derive(utoipa::IntoParams)]
#[into_params(names("name"), parameter_in = Path)]
#[expect(dead_code, reason = "only described: the name is parsed as a StreamName")]
pub struct StreamPath(
    /// The stream's name
    #[param(pattern = "^(?!\\.\\.?$)[A-Za-z0-9._-]{1,64}$")]
    String,
);

/// The page of a list that is ordered by name.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NamePageQuery {
    /// Items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: u32,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<StreamName>,
}

impl Parameters for NamePageQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let cursor = query.text("cursor")?.map(|text| cursor_of(List::Streams, &text)).transpose()?;
        let made_up = |_| Invalid(CursorError::Malformed.to_string());
        let cursor = cursor.map(|cursor| cursor.id.parse().map_err(made_up)).transpose()?;
        Ok(Self { limit: limit(query, DEFAULT_LIMIT)?, cursor })
    }
}

/// Streams with settings, a report, or frames in the last week, ordered by name. At most 1,000 are listed; frames of further ones are
/// processed all the same. A stream with settings keeps its place. The settings of a new one take the place of the stream without
/// settings that was silent longest; its report does so only if that was silent for a day; its frames do not.
#[utoipa::path(
    get, path = "/v1/streams", operation_id = "list_streams", tag = "streams", params(NamePageQuery),
    responses((status = 200, body = Page<StreamView>))
)]
pub async fn list(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<DetectionsRead>,
    StrictQuery(NamePageQuery { limit, cursor }): StrictQuery<NamePageQuery>,
) -> Result<Json<Page<StreamView>>, ApiError> {
    let stored = app.documents.streams(&caller.tenant, cursor.as_ref(), limit + 1).await?;
    let items = views(&app, stored).await?;
    let cursor_of = |last: &StreamView| PageCursor { at: Timestamp::UNIX_EPOCH, id: last.name.to_string() };
    Ok(Json(page(List::Streams, limit, items, cursor_of)))
}

/// One stream.
#[utoipa::path(
    get, path = "/v1/streams/{name}", operation_id = "get_stream", tag = "streams",
    params(StreamPath),
    responses(
        (status = 200, body = StreamView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no stream has the name"),
    )
)]
pub async fn one(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<DetectionsRead>,
    PathId(name): PathId<StreamName>,
    _: NoQuery,
) -> Result<Json<StreamView>, ApiError> {
    let stored = app.documents.stream(&caller.tenant, &name).await?;
    view_of(&app, stored, name).await
}

/// Sets up a stream, or changes its settings: they replace the earlier ones. They apply to frames that are sent after the response, on
/// other instances from about a second later on. A detector that the service has no longer is left out; if it has none of them, all of
/// its detectors process the frame.
#[utoipa::path(
    put, path = "/v1/streams/{name}", operation_id = "set_stream", tag = "streams", request_body = NewSettings,
    params(StreamPath),
    responses(
        (status = 200, body = StreamView),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`conflict`: the tenant has too many streams with settings"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "`invalid`: a value is out of its range; `unknown_detector`: the service has no such detector"),
    )
)]
pub async fn set(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<RulesWrite>,
    PathId(name): PathId<StreamName>,
    _: NoQuery,
    JsonBody(new): JsonBody<NewSettings>,
) -> Result<Json<StreamView>, ApiError> {
    let detectors = match &new.detectors {
        None => None,
        Some(names) if names.is_empty() => {
            let reason = "detectors must name at least one; leave it out, or null, for those of the service";
            return Err(RequestError::Invalid(reason.to_owned()).into());
        }
        Some(names) => Some(detectors::known(&app, names.iter().map(String::as_str))?),
    };
    let settings = StreamSettings { detectors, retention: new.retention_days };
    check_active(&app, &caller).await?;
    if app.documents.put_stream(&caller.tenant, &name, &settings, MAX_STREAMS).await? == PutStreamOutcome::Full {
        return Err(StreamError::TooMany.into());
    }
    // Settings that are stored after the documents of a deleted user were erased would stay for ever.
    // Without an answer from the accounts they stay: the stream may have had settings before.
    if !is_active(&app, &caller).await? {
        app.documents.delete_stream(&caller.tenant, &name).await?;
        return Err(AuthError::InvalidCredential.into());
    }
    app.stream_settings.set(&caller.tenant, name.clone(), Some(settings)).await;
    let stored = app.documents.stream(&caller.tenant, &name).await?;
    view_of(&app, stored, name).await
}

/// Deletes a stream with its settings and its report. Its frames are kept. If more frames are sent, it is listed again, without
/// settings.
#[utoipa::path(
    delete, path = "/v1/streams/{name}", operation_id = "delete_stream", tag = "streams",
    params(StreamPath),
    responses(
        (status = 204, description = "The stream is deleted"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no stream has the name"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<RulesWrite>,
    PathId(name): PathId<StreamName>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    if !app.documents.delete_stream(&caller.tenant, &name).await? {
        return Err(StreamError::NotFound(name).into());
    }
    app.stream_settings.set(&caller.tenant, name, None).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Reports the state of a stream's source, in the place of the last report. For the program that sends its frames, every few seconds:
/// a report that is not renewed for 60 seconds is shown as `unknown`.
#[utoipa::path(
    put, path = "/v1/streams/{name}/state", operation_id = "report_stream_state", tag = "streams", request_body = StreamReport,
    params(StreamPath),
    responses(
        (status = 204, description = "The report is stored"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`conflict`: the stream is new, and the list of streams is full: delete one, or set this one up"),
    )
)]
pub async fn report(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FramesWrite>,
    PathId(name): PathId<StreamName>,
    _: NoQuery,
    JsonBody(report): JsonBody<StreamReport>,
) -> Result<StatusCode, ApiError> {
    report.check().map_err(RequestError::Invalid)?;
    let since = reported_time("since", report.since)?;
    check_active(&app, &caller).await?;
    let report = StoredReport { report: StreamReport { since, ..report }, at: Timestamp::now() };
    match app.documents.put_report(&caller.tenant, &name, &report, MAX_STREAMS).await? {
        PutStreamOutcome::Stored => Ok(StatusCode::NO_CONTENT),
        PutStreamOutcome::Full => Err(StreamError::NoRoom.into()),
    }
}

async fn view_of(app: &App, stored: Option<StoredStream>, name: StreamName) -> Result<Json<StreamView>, ApiError> {
    let view = views(app, stored.into_iter().collect()).await?.pop();
    Ok(Json(view.ok_or(StreamError::NotFound(name))?))
}

async fn views(app: &App, streams: Vec<StoredStream>) -> Result<Vec<StreamView>, ApiError> {
    let now = Timestamp::now();
    let lags = lags(app, &streams, now).await?;
    Ok(streams.into_iter().zip(lags).map(|(stream, lag)| view(stream, lag, now)).collect())
}

/// The lag of each stream. Each query is one look-up for every stream whose lag is not known yet.
async fn lags(app: &App, streams: &[StoredStream], now: Timestamp) -> Result<Vec<u64>, ApiError> {
    let mut searches: Vec<LagSearch> = streams.iter().map(|stream| stream.activity.lag_search(now)).collect();
    loop {
        let frames: Vec<FrameId> = searches.iter().filter_map(LagSearch::next_frame).collect();
        if frames.is_empty() {
            return Ok(searches.iter().map(LagSearch::lag).collect());
        }
        let with_results = app.documents.frames_with_results(&frames).await?;
        for search in &mut searches {
            if let Some(frame) = search.next_frame() {
                search.answer(with_results.contains(&frame));
            }
        }
    }
}

fn view(stream: StoredStream, lag: u64, now: Timestamp) -> StreamView {
    let StoredStream { name, settings: StreamSettings { detectors, retention }, report, activity } = stream;
    StreamView {
        name,
        detectors,
        retention_days: retention,
        last_frame_at: activity.last_frame_at,
        frames_per_second: rounded(activity.frames_per_second(now)),
        lag,
        state: report.map(|report| state(report, now)),
    }
}

/// In thousandths.
fn rounded(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

fn state(StoredReport { report, at }: StoredReport, now: Timestamp) -> StreamStateView {
    let renewed = now.duration_since(at) < REPORT_HOLDS_FOR;
    let holds = renewed || report.state == ReportedState::Ended;
    StreamStateView {
        state: if holds { report.state.into() } else { StreamState::Unknown },
        since: report.since,
        updated_at: contracts::whole_microseconds(at),
        frames_per_second: report.frames_per_second,
        frames_sent: report.frames_sent,
        frames_skipped: report.frames_skipped,
        frames_dropped: report.frames_dropped,
        last_error: report.last_error,
    }
}
