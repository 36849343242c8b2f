//! A room for older clients: the paths and shapes they know, at the root. It translates and delegates; it holds no logic.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{DetectionFilter, GroupBy, Paged, StoredDetection};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::docs::Problems;
use crate::http::extract::{MayRead, NoQuery, Strict, limit_of};
use crate::http::{ApiError, Routes, alerts};

/// Items of a list when the client does not say how many.
const DEFAULT_LIMIT: u32 = 100;

/// The questions of this file.
pub fn routes() -> Routes {
    vec![("/detections", get(detections)), ("/stats", get(stats))]
}

/// What alert-stream answers: it knows the older shape too.
pub fn streams() -> Routes {
    vec![("/alerts", get(alerts::pass_on))]
}

/// Which part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// How many to leave out.
    #[param(value_type = Option<u64>, default = 0)]
    skip: Option<String>,
    /// How many to return.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A detection as older clients know it.
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
        let vehicle = stored.detection.vehicle;
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

/// Detections, oldest first.
#[utoipa::path(
    get, path = "/detections", tag = "older clients", params(Asked),
    responses((status = 200, body = Vec<FlatVehicle>), Problems)
)]
pub async fn detections(
    State(app): State<App>,
    reader: MayRead,
    Strict(asked): Strict<Asked>,
) -> Result<Json<Vec<FlatVehicle>>, ApiError> {
    let limit = limit_of(asked.limit.as_deref(), DEFAULT_LIMIT)?;
    let page = Paged::Oldest { skip: skip(asked.skip.as_deref())?, limit };
    let stored = app.documents.detections(&reader.scope(), &DetectionFilter::default(), &page).await?;
    Ok(Json(stored.into_iter().map(FlatVehicle::from).collect()))
}

fn skip(text: Option<&str>) -> Result<u64, ApiError> {
    // Databases count in signed numbers.
    let number = text.unwrap_or("0").parse().ok().filter(|number| *number <= i64::MAX as u64);
    number.ok_or_else(|| ApiError::Invalid("skip must be a whole number from 0".to_owned()))
}

/// How many detections there are of each make.
#[utoipa::path(
    get, path = "/stats", tag = "older clients",
    responses((status = 200, body = BTreeMap<String, u64>), Problems)
)]
pub async fn stats(
    State(app): State<App>,
    reader: MayRead,
    _: NoQuery,
) -> Result<Json<BTreeMap<String, u64>>, ApiError> {
    let counts = app.documents.count(&reader.scope(), &DetectionFilter::default(), GroupBy::Make).await?;
    Ok(Json(counts.into_iter().map(|group| (group.key, group.count)).collect()))
}
