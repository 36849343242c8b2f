//! Managing users, and the audit log. For admins.

use accounts::SecretText;
use api_kit::error::{ApiError, RequestError};
use api_kit::extract::{DEFAULT_LIMIT, NoQuery, PathId, StrictQuery, cursor_of, limit, page};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::UserId;
use contracts::api::{Page, Problem};
use http::StatusCode;
use jiff::Timestamp;
use platform::query::{Invalid, Parameters, Query};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use store::relational::{AccessChange, AuditEntry, UserLimit, UserRecord};
use store::{CursorError, List, PageCursor};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::Routes;
use crate::http::accounts::users::{RoleName, UserView};
use crate::http::app::App;
use crate::http::auth::Admin;
use crate::http::client_origin::ClientOrigin;
use crate::http::extract::text;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, one, change, remove, audit]
}

/// The page of a list.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: u32,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<String>,
}

impl Parameters for PageQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let cursor = query.text("cursor")?;
        Ok(Self { limit: limit(query, DEFAULT_LIMIT)?, cursor })
    }
}

impl PageQuery {
    /// The cursor, as one of this list.
    fn after(&self, list: List) -> Result<Option<PageCursor>, Invalid> {
        let cursor = self.cursor.as_deref().map(|text| cursor_of(list, text)).transpose()?;
        // A cursor that somebody made up.
        if cursor.as_ref().is_some_and(|cursor| Uuid::try_parse(&cursor.id).is_err()) {
            return Err(Invalid(CursorError::Malformed.to_string()));
        }
        Ok(cursor)
    }
}

/// The filter of a list of users.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserSearch {
    /// Part of a name or of the e-mail address, in any case.
    #[param(min_length = 1, max_length = 128)]
    search: Option<String>,
}

impl Parameters for UserSearch {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { search: text(query, "search")? })
    }
}

/// Users, newest first.
#[utoipa::path(
    get, path = "/v1/users", operation_id = "list_users", tag = "administration", params(PageQuery, UserSearch),
    responses((status = 200, body = Page<UserView>))
)]
pub async fn list(
    State(app): State<App>,
    _: Admin,
    StrictQuery((page_query, filter)): StrictQuery<(PageQuery, UserSearch)>,
) -> Result<Json<Page<UserView>>, ApiError> {
    let (search, after) = (filter.search.as_deref(), page_query.after(List::Users)?);
    let found = app.users.users(search, after.as_ref(), page_query.limit + 1).await?;
    let cursor_of = |last: &UserRecord| PageCursor { at: last.created_at, id: last.id.to_string() };
    let found = page(List::Users, page_query.limit, found, cursor_of);
    let items = found.items.into_iter().map(|user| UserView::of(&app, user)).collect();
    Ok(Json(Page { items, next_cursor: found.next_cursor }))
}

/// One user.
#[utoipa::path(
    get, path = "/v1/users/{id}", operation_id = "get_user", tag = "administration", params(("id" = UserId, Path, description = "The user's id")),
    responses(
        (status = 200, body = UserView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no user has the id"),
    )
)]
pub async fn one(
    State(app): State<App>,
    _: Admin,
    PathId(id): PathId<UserId>,
    _: NoQuery,
) -> Result<Json<UserView>, ApiError> {
    let user = app.users.user(id).await?;
    Ok(Json(UserView::of(&app, user)))
}

/// The fields to change.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// A new role. The sessions of the user end.
    #[serde(default)]
    role: Option<RoleName>,
    /// Frames and detections per period: a number, `unlimited`, or `default` for the limit of the settings.
    #[serde(default, deserialize_with = "allowance")]
    #[schema(value_type = Option<AllowanceText>)]
    api_request_quota: Option<UserLimit>,
    /// Requests per second: a number from 1, `unlimited`, or `default` for the limit of the settings.
    #[serde(default, deserialize_with = "allowance")]
    #[schema(value_type = Option<AllowanceText>)]
    rate_limit_rps: Option<UserLimit>,
    /// Whether the user is disabled.
    #[serde(default)]
    disabled: Option<bool>,
    /// A new password. The sessions of the user end.
    #[serde(default)]
    #[schema(max_length = 128, format = Password)]
    password: Option<String>,
}

/// A limit.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AllowanceText {
    /// A number.
    Number(u32),
    /// `unlimited` or `default`.
    Word(AllowanceWord),
}

/// A limit that is not a number.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllowanceWord {
    /// No limit.
    Unlimited,
    /// The limit of the settings.
    Default,
}

fn allowance<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UserLimit>, D::Error> {
    let wrong = |_| D::Error::custom("must be a whole number up to 4294967295, \"unlimited\" or \"default\"");
    let given = Option::<AllowanceText>::deserialize(deserializer).map_err(wrong)?;
    Ok(given.map(|given| match given {
        AllowanceText::Number(number) => UserLimit::AtMost(number),
        AllowanceText::Word(AllowanceWord::Unlimited) => UserLimit::Unlimited,
        AllowanceText::Word(AllowanceWord::Default) => UserLimit::Configured,
    }))
}

/// Changes role, limits, status or password of a user.
#[utoipa::path(
    patch, path = "/v1/users/{id}", operation_id = "change_user", tag = "administration", request_body = UserChange,
    params(("id" = UserId, Path, description = "The user's id")),
    responses(
        (status = 200, body = UserView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no user has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: the operator's user would disable itself or give up its role"),
    )
)]
pub async fn change(
    State(app): State<App>,
    admin: Admin,
    ClientOrigin(origin): ClientOrigin,
    PathId(id): PathId<UserId>,
    _: NoQuery,
    JsonBody(change): JsonBody<UserChange>,
) -> Result<Json<UserView>, ApiError> {
    let UserChange { role, api_request_quota, rate_limit_rps, disabled, password } = change;
    if rate_limit_rps == Some(UserLimit::AtMost(0)) {
        let reason = "rate_limit_rps: must be at least 1; to block a user, disable it".to_owned();
        return Err(RequestError::Invalid(reason).into());
    }
    let (users, by) = (&app.users, admin.by(&origin));
    // The password first, so that nothing is changed if it is refused.
    if let Some(password) = password {
        users.set_password(id, &SecretText::new(password), &by).await?;
    }
    let access =
        AccessChange { role: role.map(Into::into), quota: api_request_quota, rate_limit: rate_limit_rps, disabled };
    let user = users.change_access(id, &access, &by).await?;
    Ok(Json(UserView::of(&app, user)))
}

/// Deletes a user with all of its data: sessions, API tokens, rules, streams, results, alerts and images. If
/// the request is interrupted, the user is disabled, and another request continues the deletion.
/// Results of frames that are still being processed are visible to admins only; they are deleted
/// again after one minute, two, four and so on, by the service `faces`.
#[utoipa::path(
    delete, path = "/v1/users/{id}", operation_id = "delete_user", tag = "administration", params(("id" = UserId, Path, description = "The user's id")),
    responses(
        (status = 204, description = "The user is deleted"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no user has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: the operator's user cannot be deleted"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    admin: Admin,
    ClientOrigin(origin): ClientOrigin,
    PathId(id): PathId<UserId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    app.users.delete_user(id, &admin.by(&origin)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The filter of the audit log.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Entries about this user; about all users, if missing.
    #[param(value_type = Option<String>, format = Uuid)]
    user: Option<UserId>,
}

impl Parameters for AuditQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { user: query.parsed("user")? })
    }
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// The id.
    id: Uuid,
    /// Time of the event.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Name of the event: `signed_in`, `sign_in_refused`, `access_changed` …
    action: String,
    /// The affected user.
    user_id: Option<UserId>,
    /// The user who performed it, if known.
    actor_id: Option<UserId>,
    /// The IP address of the client.
    address: Option<String>,
    /// Details.
    detail: Option<String>,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, at, action, user, actor, address, detail } = entry;
        Self { id, at, action, user_id: user, actor_id: actor, address, detail }
    }
}

/// The audit log, newest first: sign-ins, changes of passwords, tokens and roles.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_audit", tag = "administration", params(PageQuery, AuditQuery),
    responses((status = 200, body = Page<AuditView>))
)]
pub async fn audit(
    State(app): State<App>,
    _: Admin,
    StrictQuery((page_query, filter)): StrictQuery<(PageQuery, AuditQuery)>,
) -> Result<Json<Page<AuditView>>, ApiError> {
    let after = page_query.after(List::Audit)?;
    let entries = app.users.audit_log(filter.user, after.as_ref(), page_query.limit + 1).await?;
    let cursor_of = |last: &AuditEntry| PageCursor { at: last.at, id: last.id.to_string() };
    let found = page(List::Audit, page_query.limit, entries, cursor_of);
    let items = found.items.into_iter().map(AuditView::from).collect();
    Ok(Json(Page { items, next_cursor: found.next_cursor }))
}
