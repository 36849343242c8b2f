//! Registration, and the current user's profile, password and quota.

use accounts::{AccountError, Profile, QuotaPeriod, Registration, SecretText, UserAccess};
use api_kit::account_error::AccountsError;
use api_kit::error::{ApiError, RequestError};
use api_kit::extract::NoQuery;
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::api::{LatestPhoto, Problem};
use contracts::{TenantId, UserId};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::relational::{PhotoStatus, Role, UserRecord};
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::app::App;
use crate::http::auth::{CurrentUser, FullSession, OptionalAdmin};
use crate::http::client_origin::ClientOrigin;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![register, me, change_me, change_password, quota]
}

/// The role of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Reads and writes its own data, and reads shared data.
    User,
    /// Reads all data and manages users.
    Admin,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::User => Self::User,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    /// The id.
    pub id: UserId,
    /// The name for signing in.
    pub username: Option<String>,
    /// The e-mail address, with which the user may also sign in.
    pub email: Option<String>,
    /// The full name.
    pub full_name: Option<String>,
    /// The role.
    pub role: RoleName,
    /// Frames and detections per period; null is unlimited.
    pub api_request_quota: Option<u32>,
    /// Requests per second; null is unlimited.
    pub rate_limit_rps: Option<u32>,
    /// Whether the user is disabled.
    pub disabled: bool,
    /// When the user was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the user last signed in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_sign_in_at: Option<Timestamp>,
}

impl UserView {
    /// The user with its effective limits.
    pub fn of(app: &App, user: UserRecord) -> Self {
        let settings = app.users.settings();
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            full_name: user.full_name,
            role: user.role.into(),
            api_request_quota: user.quota.in_force(settings.quota),
            rate_limit_rps: user.rate_limit.in_force(settings.rate_limit),
            disabled: user.disabled,
            created_at: user.created_at,
            last_sign_in_at: user.last_sign_in_at,
        }
    }
}

/// The current user.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileView {
    /// The user.
    #[serde(flatten)]
    pub user: UserView,
    /// Whether a photograph of the user was verified, and its face is still enrolled. A change shows in the next response; while a server fails,
    /// it may take ten seconds.
    pub verified: bool,
    /// The outcome of the user's photographs that was decided last, for 62 days. Missing without one. `enrolled`, `matched`,
    /// `another_person` and `other_model` are shown only while the user is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photo: Option<LatestPhoto>,
}

impl ProfileView {
    async fn of(app: &App, user: UserRecord) -> Result<Self, ApiError> {
        let PhotoStatus { verified, photo } = app.users.photo_status(&user).await?;
        Ok(Self { user: UserView::of(app, user), verified, photo })
    }
}

/// A user to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The e-mail address, also for signing in.
    #[schema(max_length = 254, example = "ann@example.org")]
    email: String,
    /// Any characters. The operator sets the minimum length, 8 by default.
    #[schema(max_length = 128, format = Password, example = "lamp ostrich kettle")]
    password: String,
    /// A name for signing in.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$", example = "ann")]
    username: Option<String>,
    /// The full name.
    #[serde(default)]
    #[schema(max_length = 200, example = "Ann Miller")]
    full_name: Option<String>,
}

/// Registers a user. With `SIGHTLINE_REGISTRATION=off`, only an admin may do so.
#[utoipa::path(
    post, path = "/v1/users", operation_id = "register", tag = "users", request_body = NewUser,
    responses(
        (status = 201, body = UserView, description = "The user is added and can sign in"),
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
    JsonBody(new): JsonBody<NewUser>,
) -> Result<(StatusCode, Json<UserView>), ApiError> {
    let registration = Registration {
        username: new.username,
        email: Some(new.email),
        full_name: new.full_name,
        password: Some(SecretText::new(new.password)),
        identity: None,
    };
    let user = add(&app, &caller, &registration, &origin).await?;
    Ok((StatusCode::CREATED, Json(UserView::of(&app, user))))
}

/// Adds a user with the default limits.
///
/// # Errors
/// When only admins may add users, a name or address is in use, or a value is invalid.
pub async fn add(
    app: &App,
    caller: &OptionalAdmin,
    new: &Registration,
    origin: &accounts::Origin,
) -> Result<UserRecord, ApiError> {
    if caller.0.is_none() && !app.users.settings().registration {
        return Err(AccountsError::RegistrationClosed.into());
    }
    let actor = caller.0.as_ref().and_then(|caller| caller.user);
    let by = accounts::Actor { user: actor, address: Some(origin.address) };
    Ok(app.users.register(new, UserAccess::default(), &by).await?)
}

/// The profile of the current user.
#[utoipa::path(
    get, path = "/v1/users/me", operation_id = "get_me", tag = "users", responses((status = 200, body = ProfileView))
)]
pub async fn me(State(app): State<App>, me: CurrentUser, _: NoQuery) -> Result<Json<ProfileView>, ApiError> {
    let user = app.users.user(me.id).await?;
    Ok(Json(ProfileView::of(&app, user).await?))
}

/// The fields to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileChange {
    /// A new e-mail address.
    #[serde(default)]
    #[schema(max_length = 254)]
    email: Option<String>,
    /// A new name for signing in.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    username: Option<String>,
    /// A new full name; an empty one deletes it.
    #[serde(default)]
    #[schema(max_length = 200)]
    full_name: Option<String>,
    /// The present password, required for a new e-mail address or name. A user without a password omits it.
    #[serde(default)]
    #[schema(format = Password)]
    present_password: Option<String>,
}

/// Changes the profile of the current user. Only admins change quota, limits and role.
#[utoipa::path(
    patch, path = "/v1/users/me", operation_id = "change_me", tag = "users", request_body = ProfileChange,
    responses(
        (status = 200, body = ProfileView),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`email_taken`, `username_taken`: another user has it; `conflict`: the operator's user keeps its name"),
    )
)]
pub async fn change_me(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(change): JsonBody<ProfileChange>,
) -> Result<Json<ProfileView>, ApiError> {
    let ProfileChange { email, username, full_name, present_password } = change;
    if username.is_some() && owner.0.caller.tenant == TenantId::admin() {
        // The operator's user is found by its name.
        return Err(AccountsError::Conflict("username: the operator's own user keeps its name".to_owned()).into());
    }
    let profile = Profile { username, email, full_name, present_password: present_password.map(SecretText::new) };
    let user = app.users.change_profile(owner.0.id, &profile, &origin).await?;
    Ok(Json(ProfileView::of(&app, user).await?))
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The present password.
    #[schema(format = Password)]
    present_password: String,
    /// The new password.
    #[schema(max_length = 128, format = Password)]
    new_password: String,
}

/// Changes the password of the current user. All other sessions end. Earlier access tokens are
/// revoked, including that of this session: use its refresh token. API tokens stay valid.
#[utoipa::path(
    post, path = "/v1/users/me/password", operation_id = "change_password", tag = "users", request_body = PasswordChange,
    responses((status = 204, description = "The password is changed"))
)]
pub async fn change_password(
    State(app): State<App>,
    owner: FullSession,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(change): JsonBody<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    let (present, new) = (SecretText::new(change.present_password), SecretText::new(change.new_password));
    let session = owner.0.caller.session;
    let changed = app.users.change_password(owner.0.id, &present, &new, session, &origin).await;
    match changed {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(AccountError::Invalid { reason, .. }) => {
            Err(RequestError::Invalid(format!("new_password: {reason}")).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The state of a quota.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotaView {
    /// Frames and detections per period. Null is unlimited, and then nothing is counted.
    limit: Option<u32>,
    /// Used in this period.
    used: u64,
    /// Left in this period.
    remaining: Option<u64>,
    /// The length of a period; periods begin at midnight UTC.
    period: PeriodName,
    /// When the next period begins.
    #[schema(value_type = Option<String>, format = DateTime)]
    resets_at: Option<Timestamp>,
}

/// The length of a period.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodName {
    /// A day.
    Day,
    /// A month.
    Month,
    /// All time.
    Total,
}

/// The quota of the current user.
#[utoipa::path(
    get, path = "/v1/users/me/quota", operation_id = "get_quota", tag = "users", responses((status = 200, body = QuotaView))
)]
pub async fn quota(State(app): State<App>, me: CurrentUser, _: NoQuery) -> Result<Response, ApiError> {
    let state = app.users.quota(&me.caller).await?;
    let period = match app.users.settings().quota_period {
        QuotaPeriod::Day => PeriodName::Day,
        QuotaPeriod::Month => PeriodName::Month,
        QuotaPeriod::Total => PeriodName::Total,
    };
    let remaining = state.limit.map(|limit| u64::from(limit).saturating_sub(state.used));
    let view = QuotaView { limit: state.limit, used: state.used, remaining, period, resets_at: state.resets_at };
    Ok(Json(view).into_response())
}
