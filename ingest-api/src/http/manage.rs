//! Users as admins manage them, and what happened to accounts.

use std::time::Duration;

use accounts::Secret;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use contracts::api::{Page, Problem};
use contracts::{TenantId, UserId};
use http::StatusCode;
use jiff::Timestamp;
use platform::query::{Invalid, Parameters, Query};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use store::relational::{AccessChange, Allowance, AuditEntry, UserRecord};
use store::{Cursor, INBOX};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::http::docs::{BodyProblems, Problems};
use crate::http::extract::{DEFAULT_LIMIT, Id, NoQuery, Strict, limit, page, text};
use crate::http::json::JsonBody;
use crate::http::users::{RoleName, UserView};
use crate::http::who::{Admin, Whence};
use crate::http::{ApiError, Routes};

/// The kind of blobs that kept images are.
const IMAGES: &str = "frames";
/// After this every instance has heard that a user is shut out.
const HEARD: Duration = Duration::from_secs(1);

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/users", get(list)), ("/v1/users/{id}", get(one).patch(change).delete(remove)), ("/v1/audit", get(audit))]
}

/// Which part of a list, newest first.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Part {
    /// Items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: u32,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<Cursor>,
}

impl Parameters for Part {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        let cursor = query.text("cursor")?.as_deref().map(Cursor::decode).transpose();
        let cursor = cursor.map_err(|error| Invalid(error.to_string()))?;
        // A cursor of another list has an id of another form.
        if cursor.as_ref().is_some_and(|cursor| Uuid::try_parse(&cursor.id).is_err()) {
            return Err(Invalid("cursor must be the next_cursor of the page before of this list".to_owned()));
        }
        Ok(Self { limit: limit(query, DEFAULT_LIMIT)?, cursor })
    }
}

/// Which users.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// With this in a name or the address, in any case of the letters.
    #[param(min_length = 1, max_length = 128)]
    search: Option<String>,
}

impl Parameters for Search {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { search: text(query, "search")? })
    }
}

/// Users, newest first.
#[utoipa::path(
    get, path = "/v1/users", operation_id = "list_users", security(("oauth2" = ["admin"]), ("bearer" = [])), tag = "administration", params(Part, Search),
    responses((status = 200, body = Page<UserView>), Problems)
)]
pub async fn list(
    State(app): State<App>,
    _: Admin,
    Strict((part, asked)): Strict<(Part, Search)>,
) -> Result<Json<Page<UserView>>, ApiError> {
    let (search, cursor) = (asked.search.as_deref(), part.cursor.as_ref());
    let found = app.directory.users.users(search, cursor, part.limit + 1).await?;
    let found = page(part.limit, found, |last: &UserRecord| Cursor { at: last.created_at, id: last.id.to_string() });
    let items = found.items.into_iter().map(|user| UserView::of(&app, user)).collect();
    Ok(Json(Page { items, next_cursor: found.next_cursor }))
}

/// One user.
#[utoipa::path(
    get, path = "/v1/users/{id}", operation_id = "get_user", security(("oauth2" = ["admin"]), ("bearer" = [])), tag = "administration", params(("id" = UserId, Path, description = "The user's id")),
    responses(
        (status = 200, body = UserView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: there is none"),
        Problems,
    )
)]
pub async fn one(State(app): State<App>, _: Admin, Id(id): Id<UserId>, _: NoQuery) -> Result<Json<UserView>, ApiError> {
    let user = app.directory.users.user(id).await?;
    Ok(Json(UserView::of(&app, user)))
}

/// What to change of a user.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// Another role. Its sessions end.
    #[serde(default)]
    role: Option<RoleName>,
    /// Frames and detections of a period: a number, `unlimited`, or `default` for what everybody has.
    #[serde(default, deserialize_with = "allowance")]
    #[schema(value_type = Option<AllowanceText>)]
    api_request_quota: Option<Allowance>,
    /// Requests a second: a number from 1, `unlimited`, or `default` for what everybody has.
    #[serde(default, deserialize_with = "allowance")]
    #[schema(value_type = Option<AllowanceText>)]
    rate_limit_rps: Option<Allowance>,
    /// Shut out, or let in again.
    #[serde(default)]
    disabled: Option<bool>,
    /// A new password. Its sessions end.
    #[serde(default)]
    #[schema(max_length = 128, format = Password)]
    password: Option<String>,
}

/// A limit as it is set.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AllowanceText {
    /// So many.
    Number(u32),
    /// `unlimited` or `default`.
    Word(AllowanceWord),
}

/// A limit that is no number.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllowanceWord {
    /// Any number.
    Unlimited,
    /// What everybody has.
    Default,
}

fn allowance<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Allowance>, D::Error> {
    let wrong = |_| D::Error::custom("must be a whole number up to 4294967295, \"unlimited\" or \"default\"");
    let given = Option::<AllowanceText>::deserialize(deserializer).map_err(wrong)?;
    Ok(given.map(|given| match given {
        AllowanceText::Number(number) => Allowance::AtMost(number),
        AllowanceText::Word(AllowanceWord::Unlimited) => Allowance::Unlimited,
        AllowanceText::Word(AllowanceWord::Default) => Allowance::Configured,
    }))
}

/// Changes what a user may, or its password.
#[utoipa::path(
    patch, path = "/v1/users/{id}", operation_id = "change_user", security(("oauth2" = ["admin"]), ("bearer" = [])), tag = "administration", request_body = UserChange,
    params(("id" = UserId, Path, description = "The user's id")),
    responses(
        (status = 200, body = UserView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: there is none"),
        BodyProblems,
    )
)]
pub async fn change(
    State(app): State<App>,
    admin: Admin,
    Whence(origin): Whence,
    Id(id): Id<UserId>,
    _: NoQuery,
    JsonBody(change): JsonBody<UserChange>,
) -> Result<Json<UserView>, ApiError> {
    let UserChange { role, api_request_quota, rate_limit_rps, disabled, password } = change;
    if rate_limit_rps == Some(Allowance::AtMost(0)) {
        return Err(ApiError::Invalid("rate_limit_rps: must be at least 1; to shut a user out, disable it".to_owned()));
    }
    let (users, by) = (&app.directory.users, admin.by(&origin));
    // First the password, which may be refused: then nothing else is changed either.
    if let Some(password) = password {
        users.set_password(id, &Secret::new(password), &by).await?;
    }
    let access =
        AccessChange { role: role.map(Into::into), quota: api_request_quota, rate_limit: rate_limit_rps, disabled };
    let user = users.change_access(id, &access, &by).await?;
    Ok(Json(UserView::of(&app, user)))
}

/// Deletes a user with all that is its own: sessions, API tokens, rules, what was seen for it, images. Cut off in between, it
/// is shut out, and the same request goes on. What comes of frames that were on their way nobody but an admin sees, since no
/// other user gets its tenant; it goes when its time is over.
#[utoipa::path(
    delete, path = "/v1/users/{id}", operation_id = "delete_user", security(("oauth2" = ["admin"]), ("bearer" = [])), tag = "administration", params(("id" = UserId, Path, description = "The user's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: there is none"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: the operator's own user stays"),
        Problems,
    )
)]
pub async fn remove(
    State(app): State<App>,
    admin: Admin,
    Whence(origin): Whence,
    Id(id): Id<UserId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    let (users, by) = (&app.directory.users, admin.by(&origin));
    let user = users.user(id).await?;
    if user.tenant == TenantId::admin() {
        return Err(ApiError::Conflict("the operator's own user stays; it can be disabled".to_owned()));
    }
    // Shut out first: a request of its own could make another rule.
    users.change_access(id, &AccessChange { disabled: Some(true), ..AccessChange::default() }, &by).await?;
    tokio::time::sleep(HEARD).await;
    app.documents.delete_tenant(&user.tenant).await?;
    for kind in [IMAGES, INBOX] {
        app.blobs.delete_tenant(kind, &user.tenant).await?;
    }
    users.delete_user(id, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Of whom.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfUser {
    /// What happened to this user; to anybody, where it is missing.
    #[param(value_type = Option<String>, format = Uuid)]
    user: Option<UserId>,
}

impl Parameters for OfUser {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { user: query.parsed("user")? })
    }
}

/// One thing that happened to an account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Its id.
    id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What, in one word: `signed_in`, `sign_in_refused`, `access_changed` …
    action: String,
    /// To whom.
    user_id: Option<UserId>,
    /// Who did it, where that is known.
    actor_id: Option<UserId>,
    /// From which address.
    address: Option<String>,
    /// More about it.
    detail: Option<String>,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, at, action, user, actor, address, detail } = entry;
        Self { id, at, action, user_id: user, actor_id: actor, address, detail }
    }
}

/// What happened to accounts, newest first: sign-ins, changes of passwords, tokens and roles.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_audit", security(("oauth2" = ["admin"]), ("bearer" = [])), tag = "administration", params(Part, OfUser),
    responses((status = 200, body = Page<AuditView>), Problems)
)]
pub async fn audit(
    State(app): State<App>,
    _: Admin,
    Strict((part, asked)): Strict<(Part, OfUser)>,
) -> Result<Json<Page<AuditView>>, ApiError> {
    let entries = app.directory.database.audit_log(asked.user, part.cursor.as_ref(), part.limit + 1).await?;
    let found = page(part.limit, entries, |last: &AuditEntry| Cursor { at: last.at, id: last.id.to_string() });
    let items = found.items.into_iter().map(AuditView::from).collect();
    Ok(Json(Page { items, next_cursor: found.next_cursor }))
}
