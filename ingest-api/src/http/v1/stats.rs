//! Counts of detections by group.

use axum::Json;
use axum::extract::State;
use contracts::api::Stats;
use jiff::{SignedDuration, Timestamp};
use platform::query::{Invalid, Parameters, Query};
use store::{DetectionFilter, GroupBy};
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::auth::Authorized;
use crate::http::describe::{Routes, routes};
use crate::http::error::ApiError;
use crate::http::extract::{StrictQuery, span};
use crate::http::scope::DetectionsRead;

/// The time span that is counted, where the client gives none.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The routes of this file.
pub fn routes() -> Routes {
    routes![stats]
}

/// The parameters of a count.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatsQuery {
    /// The field by which detections are grouped.
    #[param(required = false, inline)]
    group_by: Group,
    /// Captured then or later, in RFC 3339; 30 days before `to`, if missing.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Captured before, in RFC 3339; without an end, if missing.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

impl Parameters for StatsQuery {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        let group_by = query.text("group_by")?.as_deref().map(Group::read).transpose()?;
        let (from, to) = span(query)?;
        Ok(Self { group_by: group_by.unwrap_or_default(), from, to })
    }
}

/// A field to group by. Detections without it are not counted.
#[derive(Debug, Clone, Copy, Default, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Group {
    #[default]
    Make,
    Model,
    Category,
    Label,
    Stream,
    Hour,
}

impl Group {
    fn read(name: &str) -> Result<Self, Invalid> {
        match name {
            "make" => Ok(Self::Make),
            "model" => Ok(Self::Model),
            "category" => Ok(Self::Category),
            "label" => Ok(Self::Label),
            "stream" => Ok(Self::Stream),
            "hour" => Ok(Self::Hour),
            _ => Err(Invalid("group_by must be make, model, category, label, stream or hour".to_owned())),
        }
    }
}

impl From<Group> for GroupBy {
    fn from(group: Group) -> Self {
        match group {
            Group::Make => Self::Make,
            Group::Model => Self::Model,
            Group::Category => Self::Category,
            Group::Label => Self::Label,
            Group::Stream => Self::Stream,
            Group::Hour => Self::Hour,
        }
    }
}

/// Counts of detections by group: the largest first, hours in order.
#[utoipa::path(
    get, path = "/v1/stats", operation_id = "count_detections", tag = "detections", params(StatsQuery),
    responses((status = 200, body = Stats))
)]
pub async fn stats(
    State(app): State<App>,
    reader: Authorized<DetectionsRead>,
    StrictQuery(query): StrictQuery<StatsQuery>,
) -> Result<Json<Stats>, ApiError> {
    let StatsQuery { group_by, from, to } = query;
    let before = to.unwrap_or_else(Timestamp::now);
    let from = from.or_else(|| before.checked_sub(DEFAULT_SPAN).ok());
    let filter = DetectionFilter { from, to, ..DetectionFilter::default() };
    let items = app.documents.count(&reader.visible(), &filter, group_by.into()).await?;
    Ok(Json(Stats { items }))
}
