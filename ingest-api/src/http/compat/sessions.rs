//! Opaque sessions of one older system: `/login` returns a UUID, which `/setName` and `/getName` accept, with or without `Bearer`.

use accounts::{AccountError, Caller, Profile, SecretText};
use api_kit::auth::{AuthError, CALLER_ERRORS, count_request};
use api_kit::describe::{Argument, Requirements};
use api_kit::error::{ApiError, RequestError, ServiceError};
use api_kit::extract::NoQuery;
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use contracts::api::Problem;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use store::relational::UserRecord;
use utoipa::ToSchema;
use utoipa::openapi::security::SecurityRequirement;

use crate::http::Routes;
use crate::http::accounts::oauth_error::NO_STORE;
use crate::http::app::App;
use crate::http::client_origin::ClientOrigin;
use crate::http::extract::form::{self, FORM, Form};

/// The routes of this file.
pub fn routes() -> Routes {
    routes![login, set_name, put_name, patch_name, name]
}

/// A sign-in.
#[derive(Deserialize, ToSchema)]
pub struct Login {
    /// The user name or e-mail address.
    #[serde(alias = "user_name", alias = "email")]
    username: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub struct LoggedIn {
    /// The session token, to be sent in `Authorization`.
    token: String,
}

/// Opens a session by name and password, sent as JSON or as a form.
#[utoipa::path(
    post, path = "/login", operation_id = "older_login", tag = "older clients",
    request_body(content((Login = "application/json"), (Login = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, body = LoggedIn, headers(("Authorization" = String, description = "The session, too"))),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`wrong_password`: the name or the password is wrong",
            headers(("WWW-Authenticate" = String, description = "`Bearer`"))),
    )
)]
pub async fn login(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonOrForm(Login { username, password }): JsonOrForm<Login>,
) -> Result<Response, ApiError> {
    let session = app.users.open_opaque(&username, &SecretText::new(password), &origin).await?;
    let header = HeaderValue::from_str(session.expose()).map_err(|error| ServiceError::Internal(error.into()))?;
    let body = Json(LoggedIn { token: session.expose().to_owned() });
    Ok((StatusCode::OK, NO_STORE, [(AUTHORIZATION, header)], body).into_response())
}

/// A full name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Name {
    /// The profile's `full_name`.
    #[schema(max_length = 200, example = "Ann Miller")]
    name: String,
}

/// A user with an opaque session.
pub struct SessionUser(UserRecord);

impl Argument for SessionUser {
    fn describe(requirements: &mut Requirements) {
        requirements.security = Some(vec![SecurityRequirement::new::<&str, [&str; 0], &str>("session", [])]);
        requirements.errors.extend(CALLER_ERRORS);
    }
}

impl FromRequestParts<App> for SessionUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let header = parts.headers.get(AUTHORIZATION).ok_or(AuthError::NoCredential)?;
        let text = header.to_str().map_err(|_| AuthError::NoCredential)?.trim();
        let session = match text.split_once(' ') {
            Some((scheme, session)) if scheme.eq_ignore_ascii_case("bearer") => session.trim(),
            Some(_) => return Err(AuthError::NoCredential.into()),
            None => text,
        };
        let user = app.users.opaque_user(&SecretText::new(session)).await?;
        count_request(parts, app, &caller_of(&user, app)).await?;
        Ok(Self(UserRecord::clone(&user)))
    }
}

/// The caller for the rate limit. It has no scopes.
fn caller_of(user: &UserRecord, app: &App) -> Caller {
    Caller {
        user: Some(user.id),
        rate_limit: user.rate_limit.in_force(app.users.settings().rate_limit),
        ..Caller::new(user.tenant.clone(), Vec::new())
    }
}

/// Sets the full name of the current user.
#[utoipa::path(
    post, path = "/setName", operation_id = "older_set_name", tag = "older clients",
    request_body(content((Name = "application/json"), (Name = "application/x-www-form-urlencoded"))),
    responses((status = 200, body = Name))
)]
pub async fn set_name(
    State(app): State<App>,
    SessionUser(user): SessionUser,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonOrForm(Name { name }): JsonOrForm<Name>,
) -> Result<Json<Name>, ApiError> {
    let profile = Profile { full_name: Some(name), ..Profile::default() };
    let changed = app.users.change_profile(user.id, &profile, &origin).await;
    let user = changed.map_err(|error| match error {
        // Older clients call the field `name`.
        AccountError::Invalid { reason, .. } => RequestError::Invalid(format!("name: {reason}")).into(),
        error => ApiError::from(error),
    })?;
    Ok(Json(named(user)))
}

/// Sets the full name of the current user.
#[utoipa::path(
    put, path = "/setName", operation_id = "older_put_name", tag = "older clients",
    request_body(content((Name = "application/json"), (Name = "application/x-www-form-urlencoded"))),
    responses((status = 200, body = Name))
)]
pub async fn put_name(
    app: State<App>,
    user: SessionUser,
    origin: ClientOrigin,
    query: NoQuery,
    name: JsonOrForm<Name>,
) -> Result<Json<Name>, ApiError> {
    set_name(app, user, origin, query, name).await
}

/// Sets the full name of the current user.
#[utoipa::path(
    patch, path = "/setName", operation_id = "older_patch_name", tag = "older clients",
    request_body(content((Name = "application/json"), (Name = "application/x-www-form-urlencoded"))),
    responses((status = 200, body = Name))
)]
pub async fn patch_name(
    app: State<App>,
    user: SessionUser,
    origin: ClientOrigin,
    query: NoQuery,
    name: JsonOrForm<Name>,
) -> Result<Json<Name>, ApiError> {
    set_name(app, user, origin, query, name).await
}

/// The full name of the current user; empty, if there is none.
#[utoipa::path(
    get, path = "/getName", operation_id = "older_get_name", tag = "older clients",
    responses((status = 200, body = Name))
)]
pub async fn name(SessionUser(user): SessionUser, _: NoQuery) -> Json<Name> {
    Json(named(user))
}

fn named(user: UserRecord) -> Name {
    Name { name: user.full_name.unwrap_or_default() }
}

/// A body as JSON or as a form: older clients send both.
pub struct JsonOrForm<T>(pub T);

impl<T> Argument for JsonOrForm<T> {
    fn describe(requirements: &mut Requirements) {
        JsonBody::<T>::describe(requirements);
    }
}

/// A body that may also be a form.
pub trait FromForm: Sized {
    /// Parses the fields of a form.
    ///
    /// # Errors
    /// When a field is missing or repeated; the message names it.
    fn from_form(form: &Form) -> Result<Self, RequestError>;
}

impl FromForm for Login {
    fn from_form(form: &Form) -> Result<Self, RequestError> {
        let username = match (form.text("user_name")?, form.text("email")?) {
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => form.required("username")?,
        };
        Ok(Self { username: username.to_owned(), password: form.required("password")?.to_owned() })
    }
}

impl FromForm for Name {
    fn from_form(form: &Form) -> Result<Self, RequestError> {
        Ok(Self { name: form.required("name")?.to_owned() })
    }
}

impl<T: FromForm + serde::de::DeserializeOwned> FromRequest<App> for JsonOrForm<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if form::is(&request, FORM) {
            let form = Form::from_request(request, app).await?;
            return Ok(Self(T::from_form(&form)?));
        }
        let JsonBody(body) = JsonBody::<T>::from_request(request, app).await?;
        Ok(Self(body))
    }
}
