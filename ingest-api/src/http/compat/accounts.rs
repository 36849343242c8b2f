//! Accounts of older clients: `/users`, `/token`, `/users/me/`.

use accounts::{Registration, Scope, SecretText};
use api_kit::error::{ApiError, RequestError};
use api_kit::extract::NoQuery;
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::UserId;
use contracts::api::Problem;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use store::relational::UserRecord;
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::accounts::oauth_error::NO_STORE;
use crate::http::accounts::tokens::TokenAnswer;
use crate::http::accounts::users::{UserView, add};
use crate::http::app::App;
use crate::http::auth::{CurrentUser, OptionalAdmin};
use crate::http::client_origin::ClientOrigin;
use crate::http::extract::form::Form;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![register, token, me]
}

/// A user to register, as older clients send it. Other fields are ignored.
#[derive(Deserialize, ToSchema)]
pub struct OlderNewUser {
    /// The name for signing in.
    #[serde(alias = "user_name")]
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$", example = "ann")]
    username: String,
    /// The password.
    #[schema(max_length = 128, format = Password)]
    password: String,
    /// The e-mail address.
    #[serde(default)]
    #[schema(max_length = 254)]
    email: Option<String>,
    /// The full name.
    #[serde(default)]
    #[schema(max_length = 200)]
    full_name: Option<String>,
}

/// A user in the shape of older clients.
#[derive(Debug, Serialize, ToSchema)]
pub struct OlderUser {
    id: UserId,
    username: Option<String>,
    email: Option<String>,
    full_name: Option<String>,
    disabled: bool,
    api_request_quota: Option<u32>,
}

impl OlderUser {
    fn of(app: &App, user: UserRecord) -> Self {
        let UserView { id, username, email, full_name, disabled, api_request_quota, .. } = UserView::of(app, user);
        Self { id, username, email, full_name, disabled, api_request_quota }
    }
}

/// Registers a user. The name may also come as `user_name`.
#[utoipa::path(
    post, path = "/users", operation_id = "older_register", tag = "older clients", request_body = OlderNewUser,
    responses(
        (status = 201, body = OlderUser, description = "The user is added and can sign in"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`invalid_token`: the credential is not valid",
            headers(("WWW-Authenticate" = String, description = "`Bearer`, with what is wrong with the token"))),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`registration_closed`: only an admin adds users"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`email_taken`, `username_taken`: another user has it"),
    )
)]
pub async fn register(
    State(app): State<App>,
    caller: OptionalAdmin,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(new): JsonBody<OlderNewUser>,
) -> Result<(StatusCode, Json<OlderUser>), ApiError> {
    let registration = Registration {
        username: Some(new.username),
        email: new.email.filter(|email| !email.is_empty()),
        full_name: new.full_name,
        password: Some(SecretText::new(new.password)),
        identity: None,
    };
    let user = add(&app, &caller, &registration, &origin).await?;
    Ok((StatusCode::CREATED, Json(OlderUser::of(&app, user))))
}

/// A sign-in as a form. An empty `grant_type` is `password`. Other fields are ignored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described here, read field by field")]
pub struct OlderTokenForm {
    /// Empty, or `password`.
    #[schema(pattern = "^(password)?$")]
    grant_type: Option<String>,
    /// The user name or e-mail address.
    username: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
    /// The scopes of the token, separated by spaces.
    scope: Option<String>,
}

/// Signs in by name and password.
#[utoipa::path(
    post, path = "/token", operation_id = "older_token", tag = "older clients",
    request_body(content = OlderTokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = TokenAnswer),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`wrong_password`: the name or the password is wrong",
            headers(("WWW-Authenticate" = String, description = "`Bearer`"))),
    )
)]
pub async fn token(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    form: Form,
) -> Result<Response, ApiError> {
    if form.text("grant_type")?.is_some_and(|grant| grant != "password") {
        let reason = "grant_type: must be password or empty; /v1/token accepts others".to_owned();
        return Err(RequestError::Invalid(reason).into());
    }
    let (username, password) = (form.required("username")?, SecretText::new(form.required("password")?));
    // Older clients also send scopes of another system, which are ignored.
    let known = |scopes: &str| scopes.split_ascii_whitespace().filter_map(|name| name.parse::<Scope>().ok()).collect();
    let scopes = form.text("scope")?.map(known).filter(|scopes: &Vec<Scope>| !scopes.is_empty());
    let grant = app.users.sign_in(username, &password, scopes.as_deref(), &origin).await?;
    Ok((NO_STORE, Json(TokenAnswer::from(grant))).into_response())
}

/// The profile of the current user.
#[utoipa::path(
    get, path = "/users/me/", operation_id = "older_get_me", tag = "older clients", responses((status = 200, body = OlderUser))
)]
pub async fn me(State(app): State<App>, me: CurrentUser, _: NoQuery) -> Result<Json<OlderUser>, ApiError> {
    let user = app.users.user(me.id).await?;
    Ok(Json(OlderUser::of(&app, user)))
}
