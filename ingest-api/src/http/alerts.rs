//! Alerts: those of the past out of the documents, those that come from alert-stream, which this passes on as it is.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::api::{AlertView, Page};
use futures::StreamExt;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};
use platform::query::{Invalid, Parameters, Query};
use store::{AlertFilter, Cursor};

use crate::app::App;
use crate::http::docs::Problems;
use crate::http::extract::{Listed, MayReadAlerts, Strict, text};
use crate::http::{ApiError, Routes};

/// The questions of this file.
pub fn routes() -> Routes {
    vec![("/v1/alerts/history", get(history))]
}

/// What alert-stream answers, and how long it likes.
pub fn streams() -> Routes {
    vec![("/v1/alerts", get(pass_on)), ("/v1/alerts/cookie", axum::routing::post(pass_on))]
}

/// Which alerts, besides what every list takes.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// With this label.
    #[param(min_length = 1, max_length = 128)]
    label: Option<String>,
    /// Of the rule with this name.
    #[param(min_length = 1, max_length = 128)]
    rule: Option<String>,
}

impl Parameters for Asked {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { label: text(query, "label")?, rule: text(query, "rule")? })
    }
}

/// Alerts of the past, newest first.
#[utoipa::path(
    get, path = "/v1/alerts/history", operation_id = "list_alerts", security(("oauth2" = ["alerts:read"]), ("bearer" = [])), tag = "alerts", params(Listed, Asked),
    responses((status = 200, body = Page<AlertView>), Problems)
)]
pub async fn history(
    State(app): State<App>,
    reader: MayReadAlerts,
    Strict((listed, asked)): Strict<(Listed, Asked)>,
) -> Result<Json<Page<AlertView>>, ApiError> {
    let Asked { label, rule } = asked;
    let filter = AlertFilter { from: listed.from, to: listed.to, stream: listed.stream.clone(), label, rule };
    let stored = app.documents.alerts(&reader.scope(), &filter, &listed.asked()).await?;
    let items = stored.into_iter().map(|stored| stored.alert.data).collect();
    Ok(Json(listed.page(items, |last: &AlertView| Cursor { at: last.raised_at, id: last.id.to_string() })))
}

/// How long alert-stream may take to begin an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Headers that belong to one connection and not to what is passed on.
const OF_THE_CONNECTION: [HeaderName; 5] =
    [CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")];

/// Headers that speak of a request's body, which is not passed on.
const OF_A_BODY: [HeaderName; 4] = [CONTENT_LENGTH, EXPECT, TE, TRAILER];

/// Passes a request on to alert-stream, which knows who may read, and its answer back, piece by piece. A client that leaves
/// takes the connection behind with it, and a stop ends the stream.
pub async fn pass_on(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let unreachable =
        |reason: String| ApiError::Unavailable(format!("alert-stream, SIGHTLINE_ALERT_STREAM_URL: {reason}"));
    let mut url = app.config.alert_stream_url.clone();
    url.set_path(request.uri().path());
    url.set_query(request.uri().query());
    let mut headers = to_pass_on(request.headers());
    for name in OF_A_BODY {
        headers.remove(name);
    }
    let asking = app.client.request(request.method().clone(), url).headers(headers).send();
    let answer = tokio::time::timeout(PATIENCE, asking).await.map_err(|_| unreachable("no answer".to_owned()))?;
    let answer = answer.map_err(|error| unreachable(format!("{:#}", anyhow::Error::new(error.without_url()))))?;
    let (status, headers) = (answer.status(), to_pass_on(answer.headers()));
    let pieces = answer.bytes_stream().take_until(app.stop.clone().cancelled_owned());
    Ok((status, headers, Body::from_stream(pieces)).into_response())
}

fn to_pass_on(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in OF_THE_CONNECTION {
        kept.remove(name);
    }
    kept
}
