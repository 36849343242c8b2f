//! The routes of alert-stream, which this service proxies.

use std::collections::BTreeMap;
use std::time::Duration;

use api_kit::auth::CALLER_ERRORS;
use api_kit::describe::{ErrorResponse, string};
use api_kit::error::{ApiError, ServiceError};
use api_kit::routes;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::HeaderName;
use http::header::{CONTENT_LENGTH, EXPECT, TE, TRAILER};
use utoipa::IntoResponses;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{Object, ObjectBuilder, RefOr, Required, Response as Described, Type};

use crate::http::Routes;
use crate::http::app::App;
use crate::http::forward::forwarded_headers;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![alerts, cookie]
}

/// The route of older clients.
pub fn older_routes() -> Routes {
    routes![older_alerts]
}

/// Streams alerts.
#[utoipa::path(
    get, path = "/v1/alerts", operation_id = "stream_alerts", tag = "alerts", params(StreamParameters),
    summary = "Alerts as they are raised, as server-sent events: `event: alert`, `id` a cursor, `data` an AlertData. A stream ends \
        when its credential expires or is revoked, or the service stops",
    security(("oauth2" = ["alerts:read"]), ("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream"), StreamErrors)
)]
async fn alerts(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    proxy(&app, request).await
}

/// Streams alerts in the older format.
#[utoipa::path(
    get, path = "/alerts", operation_id = "older_stream_alerts", tag = "older clients", params(StreamParameters),
    summary = "Alerts about vehicles in the shape of older clients: `event: new_alert`, the vehicle's fields flat. A stream ends \
        when its credential expires or is revoked, or the service stops",
    security(("oauth2" = ["alerts:read"]), ("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream"), StreamErrors)
)]
async fn older_alerts(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    proxy(&app, request).await
}

/// Sets the cookie of the streams.
#[utoipa::path(
    post, path = "/v1/alerts/cookie", operation_id = "alerts_cookie", tag = "alerts",
    summary = "Sets a cookie that opens /v1/alerts and /alerts to a browser's EventSource, which sends no headers. Its value is the \
        token; the operator's token is refused",
    security(("oauth2" = ["alerts:read"]), ("bearer" = [])),
    responses(
        (status = 204, description = "The cookie is set", headers(("Set-Cookie" = String, description = "The cookie"))),
        CookieErrors,
    )
)]
async fn cookie(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    proxy(&app, request).await
}

/// The parameters of a stream, which alert-stream parses. It also accepts the names that other
/// libraries use for `last_event_id`; they are not documented.
struct StreamParameters;

impl utoipa::IntoParams for StreamParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |name: &str, place: ParameterIn, schema: Object, description: &str| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::False);
            parameter.schema(Some(schema)).description(Some(description)).build()
        };
        let query = |name, schema, description| parameter(name, ParameterIn::Query, schema, description);
        let name = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64)).build();
        let resume = "The id of the last event that the client received; the stream continues after it";
        vec![
            query("stream", string(Some("^[A-Za-z0-9._-]{1,64}$")), "Name of the stream"),
            query("label", name(), "With this label"),
            query("rule", name(), "Of the rule with this name"),
            query("last_event_id", string(None), resume),
            parameter(
                "Last-Event-ID",
                ParameterIn::Header,
                string(None),
                "The same; takes precedence over `last_event_id`",
            ),
        ]
    }
}

/// The responses to a refused stream. alert-stream checks the credential.
struct StreamErrors;

impl IntoResponses for StreamErrors {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let busy = ErrorResponse::with_retry("503", "`busy`, `unavailable`: not now");
        CALLER_ERRORS.into_iter().chain([busy]).map(ErrorResponse::problem).collect()
    }
}

/// The responses to a refused cookie. alert-stream checks the credential.
struct CookieErrors;

impl IntoResponses for CookieErrors {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        CALLER_ERRORS.into_iter().map(ErrorResponse::problem).collect()
    }
}

/// Time limit for the head of alert-stream's response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers about a request body, which is not forwarded.
const BODY_HEADERS: [HeaderName; 4] = [CONTENT_LENGTH, EXPECT, TE, TRAILER];

/// Forwards a request to alert-stream, which authorises it, and streams the response back. When the client disconnects, the
/// connection to alert-stream closes too. A stop of the service ends the stream.
async fn proxy(app: &App, request: Request) -> Result<Response, ApiError> {
    let unreachable =
        |reason: String| ServiceError::Unavailable(format!("alert-stream, SIGHTLINE_ALERT_STREAM_URL: {reason}"));
    let mut url = app.config.alert_stream_url.clone();
    url.set_path(request.uri().path());
    url.set_query(request.uri().query());
    let mut headers = forwarded_headers(request.headers());
    for name in BODY_HEADERS {
        headers.remove(name);
    }
    let sending = app.client.request(request.method().clone(), url).headers(headers).send();
    let response =
        tokio::time::timeout(RESPONSE_TIMEOUT, sending).await.map_err(|_| unreachable("no answer".to_owned()))?;
    let response = response.map_err(|error| unreachable(format!("{:#}", anyhow::Error::new(error.without_url()))))?;
    let (status, headers) = (response.status(), forwarded_headers(response.headers()));
    let chunks = response.bytes_stream().take_until(app.stop.clone().cancelled_owned());
    Ok((status, headers, Body::from_stream(chunks)).into_response())
}
