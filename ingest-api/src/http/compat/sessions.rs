//! Opaque sessions, as one older system has them: `/login` gives a UUID, `/setName` and `/getName` take it, bare or as Bearer.

use accounts::{AccountError, Caller, Profile, Secret};
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use contracts::api::Problem;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use store::relational::UserRecord;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::docs::{BodyProblems, OpenBodyProblems, Problems};
use crate::http::extract::{NoQuery, count};
use crate::http::forms::{self, FORM, Form};
use crate::http::json::JsonBody;
use crate::http::oauth::NO_STORE;
use crate::http::who::Whence;
use crate::http::{ApiError, Routes};

/// The routes of this file.
pub fn routes() -> Routes {
    let set: MethodRouter<App> = post(set_name).put(put_name).patch(patch_name);
    vec![("/login", post(login)), ("/setName", set), ("/getName", get(name))]
}

/// Who signs in.
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
    /// The session: what `Authorization` carries from now on.
    token: String,
}

/// Opens a session by name and password, sent as JSON or as a form.
#[utoipa::path(
    post, path = "/login", operation_id = "older_login", tag = "older clients", security(()),
    request_body(content((Login = "application/json"), (Login = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, body = LoggedIn, headers(("Authorization" = String, description = "The session, too"))),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`wrong_password`: the name or the password is wrong",
            headers(("WWW-Authenticate" = String, description = "`Bearer`"))),
        OpenBodyProblems,
    )
)]
pub async fn login(
    State(app): State<App>,
    Whence(origin): Whence,
    _: NoQuery,
    Either(Login { username, password }): Either<Login>,
) -> Result<Response, ApiError> {
    let session = app.directory.users.open_opaque(&username, &Secret::new(password), &origin).await?;
    let header = HeaderValue::from_str(session.expose()).map_err(|error| ApiError::Internal(error.into()))?;
    let body = Json(LoggedIn { token: session.expose().to_owned() });
    Ok((StatusCode::OK, NO_STORE, [(AUTHORIZATION, header)], body).into_response())
}

/// A name for people.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Name {
    /// The profile's `full_name`.
    #[schema(max_length = 200, example = "Ann Miller")]
    name: String,
}

/// Whoever has a session.
pub struct Visitor(UserRecord);

impl FromRequestParts<App> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let header = parts.headers.get(AUTHORIZATION).ok_or(ApiError::NoCredential)?;
        let text = header.to_str().map_err(|_| ApiError::NoCredential)?.trim();
        let session = match text.split_once(' ') {
            Some((scheme, session)) if scheme.eq_ignore_ascii_case("bearer") => session.trim(),
            Some(_) => return Err(ApiError::NoCredential),
            None => text,
        };
        let user = app.directory.users.opaque_user(&Secret::new(session)).await?;
        count(parts, app, &visiting(&user, app)).await?;
        Ok(Self(UserRecord::clone(&user)))
    }
}

/// Whose requests a session's count among. It allows nothing else.
fn visiting(user: &UserRecord, app: &App) -> Caller {
    Caller {
        tenant: user.tenant.clone(),
        user: Some(user.id),
        session: None,
        sees_all: false,
        rights: Vec::new(),
        rate_limit: user.rate_limit.in_force(app.directory.settings.rate_limit),
        valid_until: None,
    }
}

/// Sets one's name for people.
#[utoipa::path(
    post, path = "/setName", operation_id = "older_set_name", tag = "older clients", security(("session" = [])),
    request_body(content((Name = "application/json"), (Name = "application/x-www-form-urlencoded"))),
    responses((status = 200, body = Name), BodyProblems)
)]
pub async fn set_name(
    State(app): State<App>,
    Visitor(user): Visitor,
    Whence(origin): Whence,
    _: NoQuery,
    Either(Name { name }): Either<Name>,
) -> Result<Json<Name>, ApiError> {
    let profile = Profile { full_name: Some(name), ..Profile::default() };
    let changed = app.directory.users.change_profile(user.id, &profile, &origin).await;
    let user = changed.map_err(|error| match error {
        // They call it otherwise.
        AccountError::Invalid { reason, .. } => ApiError::Invalid(format!("name: {reason}")),
        error => error.into(),
    })?;
    Ok(Json(named(user)))
}

/// Sets one's name for people.
#[utoipa::path(
    put, path = "/setName", operation_id = "older_put_name", tag = "older clients", security(("session" = [])),
    request_body(content((Name = "application/json"), (Name = "application/x-www-form-urlencoded"))),
    responses((status = 200, body = Name), BodyProblems)
)]
pub async fn put_name(
    app: State<App>,
    visitor: Visitor,
    whence: Whence,
    query: NoQuery,
    name: Either<Name>,
) -> Result<Json<Name>, ApiError> {
    set_name(app, visitor, whence, query, name).await
}

/// Sets one's name for people.
#[utoipa::path(
    patch, path = "/setName", operation_id = "older_patch_name", tag = "older clients", security(("session" = [])),
    request_body(content((Name = "application/json"), (Name = "application/x-www-form-urlencoded"))),
    responses((status = 200, body = Name), BodyProblems)
)]
pub async fn patch_name(
    app: State<App>,
    visitor: Visitor,
    whence: Whence,
    query: NoQuery,
    name: Either<Name>,
) -> Result<Json<Name>, ApiError> {
    set_name(app, visitor, whence, query, name).await
}

/// One's name for people; empty where there is none.
#[utoipa::path(
    get, path = "/getName", operation_id = "older_get_name", tag = "older clients", security(("session" = [])),
    responses((status = 200, body = Name), Problems)
)]
pub async fn name(Visitor(user): Visitor, _: NoQuery) -> Json<Name> {
    Json(named(user))
}

fn named(user: UserRecord) -> Name {
    Name { name: user.full_name.unwrap_or_default() }
}

/// A body as JSON or as a form: these clients send both.
pub struct Either<T>(pub T);

/// What a form has to be read as.
pub trait OfForm: Sized {
    /// Takes the fields out of a form.
    ///
    /// # Errors
    /// Names what is missing or given twice.
    fn of_form(form: &Form) -> Result<Self, ApiError>;
}

impl OfForm for Login {
    fn of_form(form: &Form) -> Result<Self, ApiError> {
        let username = match (form.text("user_name")?, form.text("email")?) {
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => form.needed("username")?,
        };
        Ok(Self { username: username.to_owned(), password: form.needed("password")?.to_owned() })
    }
}

impl OfForm for Name {
    fn of_form(form: &Form) -> Result<Self, ApiError> {
        Ok(Self { name: form.needed("name")?.to_owned() })
    }
}

impl<T: OfForm + serde::de::DeserializeOwned> FromRequest<App> for Either<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if forms::is(&request, FORM) {
            let form = Form::from_request(request, app).await?;
            return T::of_form(&form).map(Self);
        }
        let JsonBody(body) = JsonBody::<T>::from_request(request, app).await?;
        Ok(Self(body))
    }
}
