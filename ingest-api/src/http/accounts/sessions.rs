//! The sessions of the current user: listing and ending them.

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId};
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::SessionId;
use contracts::api::{Page, Problem};
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use store::relational::SessionRecord;
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::app::App;
use crate::http::auth::FullSession;
use crate::http::client_origin::ClientOrigin;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, end_all, end]
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// The id.
    id: SessionId,
    /// Whether this request uses the session.
    current: bool,
    /// The scopes, separated by spaces.
    scope: String,
    /// The `User-Agent` of the client that signed in.
    client: Option<String>,
    /// The IP address of the client.
    address: Option<String>,
    /// When the user signed in.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the session was last refreshed.
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Timestamp,
    /// When the session ends, unless it is refreshed.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl SessionView {
    fn of(record: SessionRecord, current: Option<SessionId>) -> Self {
        Self {
            id: record.id,
            current: current == Some(record.id),
            scope: record.scopes,
            client: record.client,
            address: record.address,
            created_at: record.created_at,
            last_used_at: record.last_used_at,
            expires_at: record.expires_at,
        }
    }
}

/// The sessions of the current user, newest first, all on one page.
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "list_sessions", tag = "users", responses((status = 200, body = Page<SessionView>))
)]
pub async fn list(
    State(app): State<App>,
    FullSession(me): FullSession,
    _: NoQuery,
) -> Result<Json<Page<SessionView>>, ApiError> {
    let sessions = app.users.sessions(me.id).await?;
    let items = sessions.into_iter().map(|record| SessionView::of(record, me.caller.session)).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// Ends all sessions, including this one, within a second on every instance. API tokens stay valid.
#[utoipa::path(
    delete, path = "/v1/sessions", operation_id = "end_sessions", tag = "users",
    responses((status = 204, description = "All sessions have ended"))
)]
pub async fn end_all(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    app.users.sign_out_everywhere(owner.0.id, &owner.by(&origin)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one session.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", operation_id = "end_session", tag = "users", params(("id" = SessionId, Path, description = "The session's id")),
    responses(
        (status = 204, description = "The session has ended"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no session has the id"),
    )
)]
pub async fn end(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    PathId(id): PathId<SessionId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    app.users.end_session(owner.0.id, id, &owner.by(&origin)).await?;
    Ok(StatusCode::NO_CONTENT)
}
