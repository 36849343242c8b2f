//! API tokens: credentials for programs.

use accounts::Scope;
use api_kit::error::{ApiError, RequestError};
use api_kit::extract::{NoQuery, PathId};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::ApiTokenId;
use contracts::api::{Page, Problem};
use http::StatusCode;
use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use store::relational::ApiTokenRecord;
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::accounts::oauth_error::NO_STORE;
use crate::http::app::App;
use crate::http::auth::FullSession;
use crate::http::client_origin::ClientOrigin;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, create, remove]
}

/// An API token, without the secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiTokenView {
    /// The id.
    id: ApiTokenId,
    /// The name that its owner gave it.
    name: String,
    /// The scopes.
    scopes: Vec<String>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it expires; never, if null.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

impl From<ApiTokenRecord> for ApiTokenView {
    fn from(record: ApiTokenRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            scopes: record.scopes.split_ascii_whitespace().map(str::to_owned).collect(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            last_used_at: record.last_used_at,
        }
    }
}

/// A new API token.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewTokenView {
    /// The token. It is shown only this once.
    token: String,
    /// Its description.
    #[serde(flatten)]
    about: ApiTokenView,
}

/// An API token to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// The name.
    #[schema(min_length = 1, max_length = 100, example = "gate camera")]
    name: String,
    /// The scopes, by the names that the security scheme `oauth2` lists; `admin` only for admins.
    #[schema(min_items = 1, max_items = 16, example = json!(["frames:write"]))]
    scopes: Vec<String>,
    /// When it expires; never, if missing.
    #[serde(default, deserialize_with = "moment")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let wrong = |_| D::Error::custom("must be a time such as 2026-01-02T03:04:05Z");
    Option::<String>::deserialize(deserializer)?.map(|text| text.parse().map_err(wrong)).transpose()
}

/// The API tokens of the current user, newest first, all on one page.
#[utoipa::path(
    get, path = "/v1/api-tokens", operation_id = "list_api_tokens", tag = "tokens", responses((status = 200, body = Page<ApiTokenView>))
)]
pub async fn list(
    State(app): State<App>,
    FullSession(me): FullSession,
    _: NoQuery,
) -> Result<Json<Page<ApiTokenView>>, ApiError> {
    let tokens = app.users.api_tokens(me.id).await?;
    Ok(Json(Page { items: tokens.into_iter().map(ApiTokenView::from).collect(), next_cursor: None }))
}

/// Creates an API token. The caller must have all of its scopes.
#[utoipa::path(
    post, path = "/v1/api-tokens", operation_id = "make_api_token", tag = "tokens", request_body = NewApiToken,
    responses(
        (status = 201, body = NewTokenView, description = "The token, shown only this once", headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: the user has too many"),
    )
)]
pub async fn create(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(new): JsonBody<NewApiToken>,
) -> Result<Response, ApiError> {
    let mut scopes = Vec::new();
    for scope in &new.scopes {
        let right: Scope = scope.parse().map_err(|error| RequestError::Invalid(format!("scopes: {error}")))?;
        if !scopes.contains(&right) {
            scopes.push(right);
        }
    }
    let (users, by) = (&app.users, owner.by(&origin));
    let (record, token) = users.add_api_token(&owner.0.caller, &new.name, &scopes, new.expires_at, &by).await?;
    let view = NewTokenView { token: token.expose().to_owned(), about: record.into() };
    Ok((StatusCode::CREATED, NO_STORE, Json(view)).into_response())
}

/// Revokes an API token, within a second on every instance.
#[utoipa::path(
    delete, path = "/v1/api-tokens/{id}", operation_id = "delete_api_token", tag = "tokens", params(("id" = ApiTokenId, Path, description = "The token's id")),
    responses(
        (status = 204, description = "The token is revoked"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no token has the id"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    PathId(id): PathId<ApiTokenId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    app.users.delete_api_token(owner.0.id, id, &owner.by(&origin)).await?;
    Ok(StatusCode::NO_CONTENT)
}
