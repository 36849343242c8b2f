//! Linked identities: users of an OpenID provider with which the current user can sign in.

use accounts::{AccountError, SecretText};
use api_kit::account_error::AccountsError;
use api_kit::error::{ApiError, RequestError};
use api_kit::extract::NoQuery;
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::api::{Page, Problem};
use http::StatusCode;
use jiff::Timestamp;
use openid::OpenIdError;
use serde::{Deserialize, Serialize};
use store::relational::{Identity, LinkedIdentity};
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::accounts::oidc::provider;
use crate::http::app::App;
use crate::http::auth::FullSession;
use crate::http::client_origin::ClientOrigin;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, link, unlink]
}

/// A linked identity.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentityView {
    /// The issuer identifier of the provider.
    issuer: String,
    /// The user's identifier at the provider (`sub`).
    subject: String,
    /// When it was linked.
    #[schema(value_type = String, format = DateTime)]
    linked_at: Timestamp,
}

impl From<LinkedIdentity> for IdentityView {
    fn from(linked: LinkedIdentity) -> Self {
        let Identity { issuer, subject } = linked.identity;
        Self { issuer, subject, linked_at: linked.linked_at }
    }
}

/// The linked identities of the current user, all on one page.
#[utoipa::path(
    get, path = "/v1/users/me/identities", operation_id = "list_identities", tag = "users",
    responses((status = 200, body = Page<IdentityView>))
)]
pub async fn list(
    State(app): State<App>,
    FullSession(me): FullSession,
    _: NoQuery,
) -> Result<Json<Page<IdentityView>>, ApiError> {
    let linked = app.users.identities(me.id).await?;
    Ok(Json(Page { items: linked.into_iter().map(IdentityView::from).collect(), next_cursor: None }))
}

/// An identity to link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIdentity {
    /// An ID token of the identity. Its audience must be `SIGHTLINE_OIDC_CLIENT_ID` or one of `SIGHTLINE_OIDC_AUDIENCES`.
    #[schema(max_length = 16384)]
    id_token: String,
    /// The nonce with which the app requested the token, if it used one.
    #[serde(default)]
    #[schema(max_length = 512)]
    nonce: Option<String>,
    /// The present password. A user without a password omits it.
    #[serde(default)]
    #[schema(format = Password)]
    present_password: Option<String>,
}

/// Links the identity of an ID token: the current user can sign in with it from now on.
#[utoipa::path(
    post, path = "/v1/users/me/identities", operation_id = "link_identity", tag = "users", request_body = NewIdentity,
    responses(
        (status = 204, description = "The identity is linked, or was linked before"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`no_provider`: no OpenID provider is set"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: another user is linked to the identity"),
    )
)]
pub async fn link(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(new): JsonBody<NewIdentity>,
) -> Result<StatusCode, ApiError> {
    let provider = provider(&app)?;
    let federated =
        provider.verify_id_token(&new.id_token, new.nonce.as_deref()).await.map_err(|error| match error {
            // Not 401, which would mean that the credential of the request is invalid.
            OpenIdError::Token(rejected) => RequestError::Invalid(rejected.to_string()).into(),
            error => ApiError::from(error),
        })?;
    let password = new.present_password.map(SecretText::new);
    match app.users.link_identity(owner.0.id, &federated.identity, password.as_ref(), &origin).await {
        Err(AccountError::IdentityTaken) => {
            let reason = "another user is linked to this identity; sign in as that user".to_owned();
            Err(AccountsError::Conflict(reason).into())
        }
        linked => Ok(linked.map(|()| StatusCode::NO_CONTENT)?),
    }
}

/// Unlinks all identities: the current user can then sign in only with the password. A user without a password sets one first, by
/// `/v1/password/forgot`.
#[utoipa::path(
    delete, path = "/v1/users/me/identities", operation_id = "unlink_identities", tag = "users",
    responses(
        (status = 204, description = "All identities are unlinked"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: the user has no password"),
    )
)]
pub async fn unlink(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    if app.users.unlink_identities(owner.0.id, &owner.by(&origin)).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let reason = "there is no password to sign in with; set one by POST /v1/password/forgot first".to_owned();
    Err(AccountsError::Conflict(reason).into())
}
