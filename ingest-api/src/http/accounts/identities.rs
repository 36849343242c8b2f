//! Linked identities: the users of an OpenID provider as which the current user may sign in.

use accounts::{AccountError, Secret};
use axum::Json;
use axum::extract::State;
use contracts::api::{Page, Problem};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::relational::{Identity, LinkedIdentity};
use utoipa::ToSchema;

use crate::http::accounts::error::AccountsError;
use crate::http::accounts::oidc::provider;
use crate::http::app::App;
use crate::http::auth::FullSession;
use crate::http::client_origin::ClientOrigin;
use crate::http::describe::{Routes, routes};
use crate::http::error::{ApiError, RequestError};
use crate::http::extract::NoQuery;
use crate::http::extract::json::JsonBody;
use crate::openid::OpenIdError;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, link, unlink]
}

/// A person as which one signs in.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentityView {
    /// By whose word.
    issuer: String,
    /// Who, in its own words.
    subject: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    linked_at: Timestamp,
}

impl From<LinkedIdentity> for IdentityView {
    fn from(linked: LinkedIdentity) -> Self {
        let Identity { issuer, subject } = linked.identity;
        Self { issuer, subject, linked_at: linked.linked_at }
    }
}

/// As whom one signs in by the word of an OpenID provider. They come whole.
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

/// A person at the OpenID provider, to sign in as.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIdentity {
    /// The person's ID token. It must be for `SIGHTLINE_OIDC_CLIENT_ID` or one of `SIGHTLINE_OIDC_AUDIENCES`.
    #[schema(max_length = 16384)]
    id_token: String,
    /// What the app asked for it with, if it did: the token must say the same.
    #[serde(default)]
    #[schema(max_length = 512)]
    nonce: Option<String>,
    /// The password; whoever has none leaves it out.
    #[serde(default)]
    #[schema(format = Password)]
    present_password: Option<String>,
}

/// Signs in by the word of the OpenID provider from now on, as the person whose ID token this is.
#[utoipa::path(
    post, path = "/v1/users/me/identities", operation_id = "link_identity", tag = "users", request_body = NewIdentity,
    responses(
        (status = 204, description = "It is linked; or was already"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`no_provider`: none is set here"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: another user signs in as this person"),
    )
)]
pub async fn link(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(shown): JsonBody<NewIdentity>,
) -> Result<StatusCode, ApiError> {
    let provider = provider(&app)?;
    let user = provider.user(&shown.id_token, shown.nonce.as_deref()).await.map_err(|error| match error {
        // Not 401: that would say that the credential of the request is invalid.
        OpenIdError::Token(rejected) => RequestError::Invalid(rejected.to_string()).into(),
        error => ApiError::from(error),
    })?;
    let identity = Identity { issuer: provider.issuer().to_owned(), subject: user.subject };
    let password = shown.present_password.map(Secret::new);
    match app.users.link_identity(owner.0.id, &identity, password.as_ref(), &origin).await {
        Err(AccountError::WrongPassword) => Err(AccountsError::WrongPresentPassword.into()),
        Err(AccountError::IdentityTaken) => {
            let reason = "another user signs in as this person; sign in that way".to_owned();
            Err(AccountsError::Conflict(reason).into())
        }
        linked => Ok(linked.map(|()| StatusCode::NO_CONTENT)?),
    }
}

/// Signs in by password alone from now on. Whoever has none sets one first, by `/v1/password/forgot`.
#[utoipa::path(
    delete, path = "/v1/users/me/identities", operation_id = "unlink_identities", tag = "users",
    responses(
        (status = 204, description = "None is left"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: there is no password to sign in with"),
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
