//! The route, in two versions. The first version keeps its shape as long as clients use it.
//!
//! Credentials, errors, metrics and the common parts of the OpenAPI document are those of every service (`api-kit`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use api_kit::auth::Authorized;
use api_kit::describe::Routes;
use api_kit::extract::NoQuery;
use api_kit::middleware::{with_middleware, with_timeout};
use api_kit::scope::DetectionsRead;
use api_kit::upload::{BodyLimits, BytesInFlight};
use api_kit::{ApiState, openapi, routes};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use contracts::DetectorName;
use platform::Health;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::Deps;
use crate::counts::Counts;

/// Time limit for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// Limits of a JSON body. No route has one yet.
const JSON_BODY: BodyLimits =
    BodyLimits { bytes: 64 << 10, idle: Duration::from_secs(10), total: Duration::from_secs(30) };
/// Memory of all request bodies together, in bytes.
const BYTES_IN_FLIGHT: usize = 16 << 20;

/// State of the handlers.
#[derive(Clone)]
struct App {
    accounts: Arc<dyn Accounts>,
    counts: Counts,
    bytes_in_flight: BytesInFlight,
}

impl ApiState for App {
    fn accounts(&self) -> &dyn Accounts {
        &*self.accounts
    }

    fn bytes_in_flight(&self) -> &BytesInFlight {
        &self.bytes_in_flight
    }

    fn json_limits(&self) -> BodyLimits {
        JSON_BODY
    }
}

/// `GET /v1/counts` and `GET /v2/counts`, their document, and the checks of `health`.
pub fn router(deps: &Deps, counts: &Counts, health: &Health) -> Router {
    let gauge = metrics::gauge!("sightline_counter_bytes_in_flight");
    let bytes_in_flight = BytesInFlight::new(BYTES_IN_FLIGHT, JSON_BODY.bytes, gauge);
    let app = App { accounts: Arc::clone(&deps.accounts), counts: counts.clone(), bytes_in_flight };
    let counts: Routes<App> = routes![counts_v1, counts_v2];
    let described = OpenApiRouter::with_openapi(openapi::base()).merge(with_timeout(RESPONSE_TIMEOUT, counts));
    let (routes, document) = described.split_for_parts();
    let document = Json(document);
    let routes = routes.merge(health.router()).route("/openapi.json", get(|| async { document }));
    with_middleware(routes).with_state(app)
}

/// The number of results of each detector.
#[utoipa::path(
    get, path = "/v1/counts", operation_id = "counts", tag = "counts",
    responses((status = 200, body = BTreeMap<String, u64>))
)]
async fn counts_v1(
    _: Authorized<DetectionsRead>,
    State(app): State<App>,
    _: NoQuery,
) -> Json<BTreeMap<DetectorName, u64>> {
    Json(app.counts.current())
}

/// Body of version 2: a list, so that an item can get more fields.
#[derive(Debug, Serialize, ToSchema)]
struct CountsV2 {
    items: Vec<Count>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Count {
    #[schema(value_type = String)]
    detector: DetectorName,
    count: u64,
}

/// The number of results of each detector, as a list.
#[utoipa::path(
    get, path = "/v2/counts", operation_id = "list_counts", tag = "counts", responses((status = 200, body = CountsV2))
)]
async fn counts_v2(_: Authorized<DetectionsRead>, State(app): State<App>, _: NoQuery) -> Json<CountsV2> {
    let items = app.counts.current().into_iter().map(|(detector, count)| Count { detector, count });
    Json(CountsV2 { items: items.collect() })
}
