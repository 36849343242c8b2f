//! The routes: `/v1/alerts`, its cookie, and `/alerts` for older clients.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accounts::Scope;
use api_kit::auth::AuthError;
use api_kit::error::{ApiError, RequestError};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use bus::Bus;
use contracts::StreamName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use platform::query::{Invalid, Parameters, Query};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::cursor::{AlertCursor, InvalidCursor};
use crate::entry::{AlertFilter, AlertShape};
use crate::resume::{Replay, stream_start};
use crate::stream_credentials::{StreamCredential, StreamCredentials};
use crate::subscription::{Subscriber, SubscriberSlot, Subscription};
use crate::window::AlertWindow;
use crate::{Config, Deps};

mod credential;
mod error;

use credential::Credential;
use error::{StreamError, caller_refused};

/// Longest label or rule name in a filter, in characters.
const MAX_NAME: usize = 64;
/// Tells nginx not to buffer the response.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// State shared by the handlers. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    window: Arc<AlertWindow>,
    bus: Arc<dyn Bus>,
    credentials: Arc<StreamCredentials>,
    slots: Arc<Semaphore>,
    replays: Arc<Semaphore>,
    heartbeat: Duration,
    stop: CancellationToken,
}

impl App {
    /// Handlers that read `window`; their streams end with `stop`.
    pub fn new(config: &Config, deps: &Deps, window: Arc<AlertWindow>, stop: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            window,
            bus: Arc::clone(&deps.bus),
            credentials: Arc::new(StreamCredentials::new(Arc::clone(&deps.accounts), stop.clone())),
            slots: Arc::new(Semaphore::new(config.alert_subscribers)),
            replays: Arc::new(Semaphore::new(config.alert_replays)),
            heartbeat: config.alert_heartbeat,
            stop,
        }))
    }

    /// The credentials of open streams.
    pub fn credentials(&self) -> Arc<StreamCredentials> {
        Arc::clone(&self.0.credentials)
    }
}

impl Shared {
    /// Authenticates a credential, which must have the scope `alerts:read`.
    async fn authorise(&self, credential: &Credential) -> Result<Arc<StreamCredential>, ApiError> {
        let opened = self.credentials.open(credential.token()).await.map_err(caller_refused)?;
        if !opened.caller.may(Scope::AlertsRead) {
            return Err(AuthError::MissingScope(Scope::AlertsRead).into());
        }
        Ok(opened)
    }
}

/// All routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/v1/alerts", get(alerts))
        .route("/v1/alerts/cookie", post(cookie))
        .route("/alerts", get(vehicles))
        .method_not_allowed_fallback(|| async { ApiError::from(StreamError::MethodNotAllowed) })
        .fallback(|| async { ApiError::from(StreamError::UnknownPath) })
        .with_state(app)
}

/// The query of a stream: a filter, and where to start.
#[derive(Debug)]
struct AlertsQuery {
    stream: Option<StreamName>,
    label: Option<String>,
    rule: Option<String>,
    last_event_id: Option<String>,
}

impl Parameters for AlertsQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let (label, rule) = (name(query, "label")?, name(query, "rule")?);
        Ok(Self { stream: query.parsed("stream")?, label, rule, last_event_id: last_event_id(query)? })
    }
}

/// Widely used `EventSource` polyfills send `lastEventId` or `lastEventID`. A polyfill appends its
/// newest id to a URL that may already contain `last_event_id`, so its parameter takes precedence.
fn last_event_id(query: &mut Query) -> Result<Option<String>, Invalid> {
    let plain = query.text("last_event_id")?;
    let polyfill = [query.text("lastEventId")?, query.text("lastEventID")?];
    Ok(polyfill.into_iter().flatten().find(|id| !id.is_empty()).or(plain))
}

impl AlertsQuery {
    /// The header takes precedence over the query: a browser that reconnects by itself repeats the query of its first request.
    fn cursor(&self, headers: &HeaderMap) -> Result<Option<AlertCursor>, ApiError> {
        let header = match headers.get("last-event-id").map(HeaderValue::to_str) {
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => return Err(RequestError::Invalid("Last-Event-ID is not valid text".to_owned()).into()),
            None => None,
        };
        let text = header.filter(|text| !text.is_empty()).or(self.last_event_id.as_deref());
        let invalid = |error: InvalidCursor| ApiError::from(RequestError::Invalid(format!("last event id: {error}")));
        let read = |text: &str| text.parse::<AlertCursor>().map_err(invalid);
        text.filter(|text| !text.is_empty()).map(read).transpose()
    }
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
    listen(&app, &credential, &headers, &uri, AlertShape::Alert).await
}

/// The cursor in a client's header or query, or the status of the refusal.
#[cfg(any(test, fuzzing))]
pub fn parse_start(header: HeaderValue, query: &str) -> Result<Option<AlertCursor>, StatusCode> {
    let caller = accounts::Caller::new(contracts::TenantId::shared(), Vec::new());
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    let uri: Uri = format!("/v1/alerts?{query}").parse().map_err(|_| invalid)?;
    let query: AlertsQuery = Query::read(&uri).map_err(|Invalid(_)| invalid)?;
    let cursor = query.cursor(&HeaderMap::from_iter([(HeaderName::from_static("last-event-id"), header)]));
    drop(AlertFilter::of(&caller, AlertShape::Alert).only(query.stream, query.label, query.rule));
    cursor.map_err(|error| error.status())
}

/// Older clients get alerts about vehicles only.
async fn vehicles(
    State(app): State<App>,
    credential: Credential,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    listen(&app, &credential, &headers, &uri, AlertShape::Vehicle).await
}

async fn listen(
    App(app): &App,
    credential: &Credential,
    headers: &HeaderMap,
    uri: &Uri,
    shape: AlertShape,
) -> Result<Response, ApiError> {
    let stream_credential = app.authorise(credential).await?;
    let query: AlertsQuery = Query::read(uri)?;
    let cursor = query.cursor(headers)?;
    let filter = AlertFilter::of(&stream_credential.caller, shape).only(query.stream, query.label, query.rule);
    let permit = Arc::clone(&app.slots).try_acquire_owned().map_err(|_| StreamError::Busy)?;
    let slot = SubscriberSlot::new(&app.window, permit);

    let start = stream_start(&app.window, &*app.bus, cursor).await.map_err(StreamError::from)?;
    let replay = if start.is_old {
        let permit = Arc::clone(&app.replays).try_acquire_owned().map_err(|_| StreamError::Busy)?;
        let opened = Replay::open(&app.window, &*app.bus, start.handled_up_to, permit).await;
        Some(opened.map_err(StreamError::from)?)
    } else {
        None
    };
    let (window, stop) = (Arc::clone(&app.window), app.stop.clone());
    let subscriber = Subscriber { filter, credential: stream_credential, slot };
    let subscription = Subscription::new(window, subscriber, start, replay, app.heartbeat, stop);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(subscription.events())).into_response())
}

/// A browser's `EventSource` cannot send an `Authorization` header: it gets its credential as a cookie that no script reads.
async fn cookie(State(App(app)): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let credential = Credential::from_bearer(&headers)?;
    let stream_credential = app.authorise(&credential).await?;
    // It never expires, reads every tenant and allows everything.
    if stream_credential.caller.user.is_none() {
        return Err(StreamError::OperatorToken.into());
    }
    let left =
        stream_credential.caller.valid_until.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
    let cookies = credential.as_cookies(&headers, left)?.map(|cookie| (SET_COOKIE, cookie));
    let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::NO_CONTENT, headers, AppendHeaders(cookies)).into_response())
}
