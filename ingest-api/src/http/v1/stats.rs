//! Counts of detections by group.

use api_kit::auth::Authorized;
use api_kit::describe::string;
use api_kit::error::ApiError;
use api_kit::extract::StrictQuery;
use api_kit::routes;
use api_kit::scope::DetectionsRead;
use axum::Json;
use axum::extract::State;
use contracts::StreamName;
use contracts::api::Stats;
use jiff::{SignedDuration, Timestamp};
use platform::query::{Invalid, Parameters, Query};
use store::{DetectionFilter, GroupBy};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

use crate::http::Routes;
use crate::http::app::App;
use crate::http::extract::attributes::{PATTERN, attribute};
use crate::http::extract::{span, text};

/// Default time span of a count.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The routes of this file.
pub fn routes() -> Routes {
    routes![stats]
}

/// The parameters of a count.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatsQuery {
    /// The field or attribute to group by. Numbers and booleans are grouped by their text form.
    #[param(required = false, inline)]
    group_by: Group,
    /// Earliest capture time, inclusive, in RFC 3339; 30 days before `to`, if missing.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Latest capture time, exclusive, in RFC 3339; no end, if missing.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Name of the stream.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    stream: Option<StreamName>,
    /// With this label.
    #[param(min_length = 1, max_length = 128)]
    label: Option<String>,
}

impl Parameters for StatsQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let group_by = Group::read(query.text("group_by")?.as_deref().unwrap_or(DEFAULT_FIELD))?;
        let (from, to) = span(query)?;
        Ok(Self { group_by, from, to, stream: query.parsed("stream")?, label: text(query, "label")? })
    }
}

/// The field or attribute to group by: one of [`FIELDS`], or an attribute.
#[derive(Debug)]
struct Group(GroupBy);

/// The fields to group by, with their names.
const FIELDS: [(&str, GroupBy); 6] = [
    (DEFAULT_FIELD, GroupBy::Make),
    ("model", GroupBy::Model),
    ("category", GroupBy::Category),
    ("label", GroupBy::Label),
    ("stream", GroupBy::Stream),
    ("hour", GroupBy::Hour),
];

/// The default field.
const DEFAULT_FIELD: &str = "make";

impl Group {
    fn read(name: &str) -> Result<Self, Invalid> {
        if let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) {
            return Ok(Self(field.clone()));
        }
        let Some(attribute) = attribute(name) else {
            let fields = FIELDS.map(|(name, _)| name).join(", ");
            return Err(Invalid(format!("group_by must be {fields} or attributes.NAME")));
        };
        let attribute = attribute.map_err(|Invalid(reason)| Invalid(format!("group_by: {reason}")))?;
        Ok(Self(GroupBy::Attribute(attribute)))
    }
}

impl utoipa::PartialSchema for Group {
    fn schema() -> RefOr<Schema> {
        let field = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(FIELDS.map(|(name, _)| name)));
        AnyOfBuilder::new()
            .item(field)
            .item(string(Some(PATTERN)))
            .default(Some(DEFAULT_FIELD.into()))
            .description(Some(
                "A field, or an attribute such as `attributes.colour`. Detections without it are not counted.",
            ))
            .into()
    }
}

impl utoipa::ToSchema for Group {}

/// Counts of detections by group: the largest first, hours in order.
#[utoipa::path(
    get, path = "/v1/stats", operation_id = "count_detections", tag = "detections", params(StatsQuery),
    responses((status = 200, body = Stats))
)]
pub async fn stats(
    State(app): State<App>,
    caller: Authorized<DetectionsRead>,
    StrictQuery(query): StrictQuery<StatsQuery>,
) -> Result<Json<Stats>, ApiError> {
    let StatsQuery { group_by, from, to, stream, label } = query;
    let before = to.unwrap_or_else(Timestamp::now);
    let from = from.or_else(|| before.checked_sub(DEFAULT_SPAN).ok());
    let filter = DetectionFilter { from, to, stream, label, ..DetectionFilter::default() };
    Ok(Json(app.documents.count(&caller.tenant_scope(), &filter, group_by.0).await?))
}
