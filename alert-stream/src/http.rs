//! The routes: `/v1/alerts`, its cookie, and the older clients' `/alerts`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accounts::Right;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bus::Bus;
use contracts::StreamName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use platform::query::{Invalid, Parameters, Query};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::cursor::Cursor;
use crate::entry::{Filter, Shape};
use crate::feed::Feed;
use crate::resume::{Replay, begin};
use crate::sessions::Sessions;
use crate::subscription::{Client, Place, Subscription};
use crate::{Config, Deps};

mod credential;
mod error;

use credential::Credential;
use error::ApiError;

/// Longest label or rule name to filter by, in characters.
const MAX_NAME: usize = 64;
/// Proxies that hold back what they pass on (nginx) do not, where a response says so.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    feed: Arc<Feed>,
    bus: Arc<dyn Bus>,
    sessions: Arc<Sessions>,
    places: Arc<Semaphore>,
    replays: Arc<Semaphore>,
    heartbeat: Duration,
    stop: CancellationToken,
}

impl App {
    /// Handlers over a window, whose streams end with `stop`.
    pub fn new(config: &Config, deps: &Deps, feed: Arc<Feed>, stop: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            feed,
            bus: Arc::clone(&deps.bus),
            sessions: Arc::new(Sessions::new(Arc::clone(&deps.accounts), stop.clone())),
            places: Arc::new(Semaphore::new(config.alert_subscribers)),
            replays: Arc::new(Semaphore::new(config.alert_replays)),
            heartbeat: config.alert_heartbeat,
            stop,
        }))
    }

    /// The credentials in use.
    pub fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.0.sessions)
    }
}

/// All routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/v1/alerts", get(alerts))
        .route("/v1/alerts/cookie", post(cookie))
        .route("/alerts", get(vehicles))
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .fallback(|| async { ApiError::UnknownPath })
        .with_state(app)
}

/// Which alerts, and from where on.
#[derive(Debug)]
struct Asked {
    stream: Option<StreamName>,
    label: Option<String>,
    rule: Option<String>,
    last_event_id: Option<String>,
}

impl Parameters for Asked {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        let (label, rule) = (name(query, "label")?, name(query, "rule")?);
        Ok(Self { stream: query.parsed("stream")?, label, rule, last_event_id: last_event_id(query)? })
    }
}

impl Asked {
    /// The header counts for more: a browser that comes back by itself keeps the query it first came with.
    fn cursor(&self, headers: &HeaderMap) -> Result<Option<Cursor>, ApiError> {
        let header = match headers.get("last-event-id").map(HeaderValue::to_str) {
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => return Err(ApiError::Invalid("Last-Event-ID is not readable".to_owned())),
            None => None,
        };
        let text = header.filter(|text| !text.is_empty()).or(self.last_event_id.as_deref());
        let read = |text: &str| text.parse().map_err(|error| ApiError::Invalid(format!("last event id: {error}")));
        text.filter(|text| !text.is_empty()).map(read).transpose()
    }
}

/// The cursor in the query. EventSource polyfills send it as `lastEventId` or `lastEventID`.
fn last_event_id(query: &mut Query) -> Result<Option<String>, Invalid> {
    let mut found = None;
    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        let value = query.text(name)?.filter(|value| !value.is_empty());
        found = found.or(value);
    }
    Ok(found)
}

fn name(query: &mut Query, what: &'static str) -> Result<Option<String>, Invalid> {
    match query.text(what)? {
        Some(name) if name.is_empty() || name.chars().count() > MAX_NAME => {
            Err(Invalid(format!("{what} must have 1 to {MAX_NAME} characters")))
        }
        name => Ok(name),
    }
}

async fn alerts(
    State(app): State<App>,
    credential: Credential,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    listen(&app, &credential, &headers, &uri, Shape::Alert).await
}

/// Where a client's stream begins, by its header and its query; or the status of the refusal.
#[cfg(any(test, fuzzing))]
pub fn begins(header: HeaderValue, query: &str) -> Result<Option<Cursor>, StatusCode> {
    let caller = accounts::Caller {
        tenant: contracts::TenantId::shared(),
        user: None,
        session: None,
        sees_all: false,
        rights: Vec::new(),
        rate_limit: None,
        valid_until: None,
    };
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    let uri: Uri = format!("/v1/alerts?{query}").parse().map_err(|_| invalid)?;
    let asked: Asked = Query::read(&uri).map_err(|Invalid(_)| invalid)?;
    let cursor = asked.cursor(&HeaderMap::from_iter([(HeaderName::from_static("last-event-id"), header)]));
    drop(Filter::of(&caller, Shape::Alert).only(asked.stream, asked.label, asked.rule));
    cursor.map_err(|error| error.into_response().status())
}

/// Older clients know vehicles only: alerts of anything else are not for them.
async fn vehicles(
    State(app): State<App>,
    credential: Credential,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    listen(&app, &credential, &headers, &uri, Shape::Vehicle).await
}

async fn listen(
    App(app): &App,
    credential: &Credential,
    headers: &HeaderMap,
    uri: &Uri,
    shape: Shape,
) -> Result<Response, ApiError> {
    let session = app.sessions.open(credential.token()).await?;
    if !session.caller.may(Right::AlertsRead) {
        return Err(ApiError::Forbidden);
    }
    let asked: Asked = Query::read(uri)?;
    let cursor = asked.cursor(headers)?;
    let filter = Filter::of(&session.caller, shape).only(asked.stream, asked.label, asked.rule);
    let place = Arc::clone(&app.places).try_acquire_owned().map_err(|_| ApiError::Busy)?;
    let place = Place::new(&app.feed, place);

    let beginning = begin(&app.feed, &*app.bus, cursor).await?;
    let replay = if beginning.is_old {
        let permit = Arc::clone(&app.replays).try_acquire_owned().map_err(|_| ApiError::Busy)?;
        Some(Replay::open(&app.feed, &*app.bus, beginning.offered, permit).await?)
    } else {
        None
    };
    let (feed, stop) = (Arc::clone(&app.feed), app.stop.clone());
    let client = Client { filter, session, place };
    let subscription = Subscription::new(feed, client, beginning, replay, app.heartbeat, stop);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(subscription.blocks())).into_response())
}

/// A browser's `EventSource` sends no headers of ours: it gets its credential as a cookie that no script can read.
async fn cookie(State(App(app)): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let credential = Credential::from_bearer(&headers)?;
    let session = app.sessions.open(credential.token()).await?;
    if !session.caller.may(Right::AlertsRead) {
        return Err(ApiError::Forbidden);
    }
    let left = session.caller.valid_until.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
    let cookie = credential.as_cookie(&headers, left)?;
    let headers = [(SET_COOKIE, cookie), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}
