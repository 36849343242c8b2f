//! `/detections` and `/stats` of older clients: vehicles with flat fields.

use std::collections::BTreeMap;

use api_kit::auth::Authorized;
use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, StrictQuery, limit};
use api_kit::routes;
use api_kit::scope::DetectionsRead;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use platform::query::{Invalid, Parameters, Query};
use serde::Serialize;
use store::{DetectionFilter, GroupBy, PageRequest, StoredDetection};
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::app::App;

/// Default number of items of a list.
const DEFAULT_LIMIT: u32 = 100;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![detections, stats]
}

/// The parameters of a list.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VehicleQuery {
    /// Items to skip.
    #[param(required = false, minimum = 0, default = 0)]
    skip: u64,
    /// Items to return.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

impl Parameters for VehicleQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let skip = query.text("skip")?;
        Ok(Self { skip: from_zero("skip", skip.as_deref().unwrap_or("0"))?, limit: limit(query, DEFAULT_LIMIT)? })
    }
}

fn from_zero(name: &str, text: &str) -> Result<u64, Invalid> {
    // Databases have signed numbers only.
    let number = text.parse().ok().filter(|number| *number <= i64::MAX as u64);
    number.ok_or_else(|| Invalid(format!("{name} must be a whole number from 0")))
}

/// A detection in the shape of older clients.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlatVehicle {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    year: Option<i32>,
    make: Option<String>,
    model: Option<String>,
    category: Option<String>,
}

impl From<StoredDetection> for FlatVehicle {
    fn from(stored: StoredDetection) -> Self {
        let vehicle = stored.detection.attributes.vehicle();
        Self {
            id: stored.id.to_string(),
            created_at: stored.captured_at,
            year: vehicle.year,
            make: vehicle.make,
            model: vehicle.model,
            category: vehicle.category,
        }
    }
}

/// Detections of vehicles, oldest first.
#[utoipa::path(
    get, path = "/detections", operation_id = "older_list_detections", tag = "older clients", params(VehicleQuery),
    responses((status = 200, body = Vec<FlatVehicle>))
)]
pub async fn detections(
    State(app): State<App>,
    caller: Authorized<DetectionsRead>,
    StrictQuery(query): StrictQuery<VehicleQuery>,
) -> Result<Json<Vec<FlatVehicle>>, ApiError> {
    let page = PageRequest::Oldest { skip: query.skip, limit: query.limit };
    // Older clients expect vehicles only.
    let vehicles = DetectionFilter { vehicles_only: true, ..DetectionFilter::default() };
    let stored = app.documents.detections(&caller.tenant_scope(), &vehicles, &page).await?;
    Ok(Json(stored.into_iter().map(FlatVehicle::from).collect()))
}

/// Counts of detections by make.
#[utoipa::path(
    get, path = "/stats", operation_id = "older_count_detections", tag = "older clients",
    responses((status = 200, body = BTreeMap<String, u64>))
)]
pub async fn stats(
    State(app): State<App>,
    caller: Authorized<DetectionsRead>,
    _: NoQuery,
) -> Result<Json<BTreeMap<String, u64>>, ApiError> {
    let counts = app.documents.count(&caller.tenant_scope(), &DetectionFilter::default(), GroupBy::Make).await?;
    Ok(Json(counts.items.into_iter().map(|group| (group.key, group.count)).collect()))
}
