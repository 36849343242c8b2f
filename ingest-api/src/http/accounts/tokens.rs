//! Tokens of OAuth 2.0: signing in and refreshing (RFC 6749), revoking (RFC 7009), introspection (RFC 7662), and the keys that
//! verify access tokens (RFC 7517).

use accounts::{IssuedTokens, Scope, SecretText, TokenState};
use api_kit::error::ApiError;
use api_kit::extract::NoQuery;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::{TenantId, UserId};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::Routes;
use crate::http::accounts::oauth_error::{ErrorBody, NO_STORE, OAuthError};
use crate::http::app::App;
use crate::http::auth::CurrentUser;
use crate::http::client_origin::ClientOrigin;
use crate::http::extract::form::Form;

/// Time for which caches may store the keys: much shorter than the time between the publication of a key and its first use.
const KEYS_CACHE_CONTROL: &str = "public, max-age=300";

/// The routes of this file.
pub fn routes() -> Routes {
    routes![token, revoke, introspect, keys]
}

/// A request for a token. Other fields such as `client_id` are ignored: every client is a public client.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: the form is parsed field by field")]
pub struct TokenForm {
    /// `password` or `refresh_token`.
    #[schema(pattern = "^(password|refresh_token)$")]
    grant_type: String,
    /// For `password`: the user name or e-mail address.
    username: Option<String>,
    /// For `password`.
    #[schema(format = Password)]
    password: Option<String>,
    /// For `refresh_token`: the last refresh token, which is valid once.
    refresh_token: Option<String>,
    /// For `password`: the scopes, separated by spaces; all scopes of the user, if missing.
    scope: Option<String>,
}

/// The tokens of a sign-in.
#[derive(Serialize, ToSchema)]
pub struct TokenAnswer {
    /// The credential for requests: `Authorization: Bearer <token>`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Lifetime of the access token, in seconds.
    expires_in: u64,
    /// The token for the next access token, valid once.
    refresh_token: String,
    /// The scopes of the access token, separated by spaces.
    scope: String,
}

impl From<IssuedTokens> for TokenAnswer {
    fn from(grant: IssuedTokens) -> Self {
        Self {
            access_token: grant.access_token.expose().to_owned(),
            token_type: "Bearer",
            expires_in: grant.expires_in.as_secs(),
            refresh_token: grant.refresh_token.expose().to_owned(),
            scope: Scope::list(&grant.scopes),
        }
    }
}

impl TokenAnswer {
    /// The same as form fields.
    pub fn fields(self) -> Vec<(&'static str, String)> {
        vec![
            ("access_token", self.access_token),
            ("token_type", self.token_type.to_owned()),
            ("expires_in", self.expires_in.to_string()),
            ("refresh_token", self.refresh_token),
            ("scope", self.scope),
        ]
    }
}

/// Signs in by name and password, or refreshes a session by its refresh token.
#[utoipa::path(
    post, path = "/v1/token", operation_id = "get_token", tag = "tokens",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = TokenAnswer, headers(("Cache-Control" = String, description = "`no-store`"))))
)]
pub async fn token(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    query: Result<NoQuery, ApiError>,
    form: Result<Form, ApiError>,
) -> Result<Response, OAuthError> {
    query?;
    let form = form?;
    let users = &app.users;
    let grant = match form.required("grant_type")? {
        "password" => {
            let (username, password) = (form.required("username")?, SecretText::new(form.required("password")?));
            let scopes = form.text("scope")?.map(Scope::parse_list).transpose();
            let scopes = scopes.map_err(|error| OAuthError::invalid_scope(error.to_string()))?;
            users.sign_in(username, &password, scopes.as_deref(), &origin).await?
        }
        "refresh_token" => users.refresh(&SecretText::new(form.required("refresh_token")?), &origin).await?,
        other => return Err(OAuthError::unsupported_grant(other)),
    };
    Ok((NO_STORE, Json(TokenAnswer::from(grant))).into_response())
}

/// A token to revoke or to inspect.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: the form is parsed field by field")]
pub struct OneToken {
    /// The token.
    token: String,
    /// `access_token` or `refresh_token`.
    token_type_hint: Option<String>,
}

/// Revokes a token of any kind; with a refresh token, the whole session ends. An unknown token is treated as revoked.
#[utoipa::path(
    post, path = "/v1/token/revoke", operation_id = "revoke_token", tag = "tokens",
    request_body(content = OneToken, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token is revoked, within a second on every instance"))
)]
pub async fn revoke(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    query: Result<NoQuery, ApiError>,
    form: Result<Form, ApiError>,
) -> Result<Response, OAuthError> {
    query?;
    let form = form?;
    form.text("token_type_hint")?;
    // No other credential is needed: the holder of the token could also use it.
    app.users.revoke(&SecretText::new(form.required("token")?), &origin).await?;
    Ok((StatusCode::OK, NO_STORE).into_response())
}

/// The description of a token (RFC 7662).
#[derive(Default, Serialize, ToSchema)]
pub struct Introspected {
    /// Whether the token is valid. If not, the other fields are missing.
    active: bool,
    /// The scopes, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The name of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// `Bearer`, or `refresh_token`, which is not a credential for requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// When it expires, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// When it was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// The id of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<UserId>,
    /// The audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// The id of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
    /// The tenant whose data it can access.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
}

impl Introspected {
    fn of(state: TokenState, app: &App) -> Self {
        let settings = app.users.settings();
        Self {
            active: true,
            scope: Some(Scope::list(&state.scopes)),
            username: state.name,
            token_type: Some(if state.makes_requests { "Bearer" } else { "refresh_token" }),
            exp: state.expires_at.map(jiff::Timestamp::as_second),
            iat: state.issued_at.map(jiff::Timestamp::as_second),
            sub: Some(state.user),
            aud: Some(settings.audience.clone()),
            iss: Some(settings.issuer.clone()),
            jti: state.id,
            tenant: Some(state.tenant),
        }
    }
}

/// Describes a token, for services that receive one. A refresh token is described only with `token_type_hint=refresh_token`:
/// otherwise a service might accept it as a credential.
#[utoipa::path(
    post, path = "/v1/token/introspect", operation_id = "introspect_token", tag = "tokens",
    request_body(content = OneToken, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = Introspected, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 401, body = ErrorBody, description = "`invalid_client`: the caller has no valid credential",
            headers(("WWW-Authenticate" = String, description = "`Bearer`, with what is wrong with the token"))),
    )
)]
pub async fn introspect(
    State(app): State<App>,
    caller: Result<CurrentUser, ApiError>,
    query: Result<NoQuery, ApiError>,
    form: Result<Form, ApiError>,
) -> Result<Response, OAuthError> {
    caller?;
    query?;
    let form = form?;
    let token = SecretText::new(form.required("token")?);
    let refresh = form.text("token_type_hint")? == Some("refresh_token");
    let state = app.users.token_state(&token).await.map_err(ApiError::from)?;
    let shown = state.filter(|state| state.makes_requests || refresh);
    let introspected = shown.map_or_else(Introspected::default, |state| Introspected::of(state, &app));
    Ok((NO_STORE, Json(introspected)).into_response())
}

/// A JSON Web Key Set.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: `accounts` creates it")]
pub struct Keys {
    /// The keys.
    keys: Vec<Key>,
}

/// An Ed25519 key.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: `accounts` creates it")]
pub struct Key {
    /// `OKP`.
    kty: String,
    /// `Ed25519`.
    crv: String,
    /// `sig`.
    #[schema(rename = "use")]
    usage: String,
    /// `EdDSA`.
    alg: String,
    /// The key id in the headers of tokens.
    kid: String,
    /// The public key.
    x: String,
}

/// The keys that verify access tokens.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", operation_id = "get_keys", tag = "tokens",
    responses((status = 200, body = Keys))
)]
pub async fn keys(State(app): State<App>, _: NoQuery) -> ([(http::HeaderName, &'static str); 1], Json<Value>) {
    ([(CACHE_CONTROL, KEYS_CACHE_CONTROL)], Json(app.users.jwks()))
}
