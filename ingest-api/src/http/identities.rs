//! By whose word one signs in besides one's password: linking a person at the OpenID provider, and taking that back.

use accounts::{AccountError, Secret};
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use contracts::api::{Page, Problem};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::relational::{Identity, LinkedIdentity};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::docs::{BodyProblems, Problems};
use crate::http::extract::NoQuery;
use crate::http::json::JsonBody;
use crate::http::openid::provider;
use crate::http::who::{Owner, Whence};
use crate::http::{ApiError, Routes};

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/users/me/identities", get(list).post(link).delete(unlink))]
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
    responses((status = 200, body = Page<IdentityView>), Problems)
)]
pub async fn list(State(app): State<App>, Owner(me): Owner, _: NoQuery) -> Result<Json<Page<IdentityView>>, ApiError> {
    let linked = app.directory.users.identities(me.id).await?;
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
        BodyProblems,
    )
)]
pub async fn link(
    State(app): State<App>,
    owner: Owner,
    Whence(origin): Whence,
    _: NoQuery,
    JsonBody(shown): JsonBody<NewIdentity>,
) -> Result<StatusCode, ApiError> {
    let provider = provider(&app)?;
    let person = provider.person(&shown.id_token, shown.nonce.as_deref()).await;
    // 401 would say that the credential does not count.
    let person = person.map_err(|error| match ApiError::from(error) {
        ApiError::InvalidIdToken(rejected) => ApiError::Invalid(rejected.to_string()),
        error => error,
    })?;
    let identity = Identity { issuer: provider.issuer().to_owned(), subject: person.subject };
    let password = shown.present_password.map(Secret::new);
    match app.directory.users.link_identity(owner.0.id, &identity, password.as_ref(), &origin).await {
        Err(AccountError::WrongPassword) => Err(ApiError::WrongPresentPassword),
        Err(AccountError::IdentityTaken) => {
            Err(ApiError::Conflict("another user signs in as this person; sign in that way".to_owned()))
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
        Problems,
    )
)]
pub async fn unlink(
    State(app): State<App>,
    owner: Owner,
    Whence(origin): Whence,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    if app.directory.users.unlink_identities(owner.0.id, &owner.by(&origin)).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::Conflict(
        "there is no password to sign in with; set one by POST /v1/password/forgot first".to_owned(),
    ))
}
