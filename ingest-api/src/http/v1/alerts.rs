//! Alerts: past ones from the document store, live ones from alert-stream.

pub mod stream;

use api_kit::auth::Authorized;
use api_kit::error::ApiError;
use api_kit::extract::StrictQuery;
use api_kit::routes;
use api_kit::scope::AlertsRead;
use axum::Json;
use axum::extract::State;
use contracts::api::{AlertView, Page};
use platform::query::{Invalid, Parameters, Query};
use store::{AlertFilter, List, PageCursor, PageRequest};

use crate::http::Routes;
use crate::http::app::App;
use crate::http::extract::{ListQuery, text};

/// The routes of this file.
pub fn routes() -> Routes {
    routes![history]
}

/// Filters of a list of alerts.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// With this label.
    #[param(min_length = 1, max_length = 128)]
    label: Option<String>,
    /// Of the rule with this name.
    #[param(min_length = 1, max_length = 128)]
    rule: Option<String>,
}

impl Parameters for AlertQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { label: text(query, "label")?, rule: text(query, "rule")? })
    }
}

/// Past alerts, newest first. Those of a detection whose subject was rejected or deleted since do not name it.
#[utoipa::path(
    get, path = "/v1/alerts/history", operation_id = "list_alerts", tag = "alerts", params(ListQuery, AlertQuery),
    responses((status = 200, body = Page<AlertView>))
)]
pub async fn history(
    State(app): State<App>,
    caller: Authorized<AlertsRead>,
    StrictQuery((listed, query)): StrictQuery<(ListQuery, AlertQuery)>,
) -> Result<Json<Page<AlertView>>, ApiError> {
    let AlertQuery { label, rule } = query;
    let filter = AlertFilter { from: listed.from, to: listed.to, stream: listed.stream.clone(), label, rule };
    let scope = caller.tenant_scope();
    let read = |page: PageRequest| {
        let (documents, scope, filter) = (&app.documents, &scope, &filter);
        async move {
            let stored = documents.alerts(scope, filter, &page).await?;
            Ok::<Vec<_>, ApiError>(stored.into_iter().map(|stored| stored.alert.data).collect())
        }
    };
    let position = |last: &AlertView| PageCursor { at: last.raised_at, id: last.id.to_string() };
    Ok(Json(listed.page(List::Alerts, read, position).await?))
}
