//! Alert rules: those of a tenant, and the built-in ones, which are read-only.

use accounts::{AccountError, Caller};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::api::{NewRule, Page, Problem, RuleChange, RuleView};
use contracts::{Rule, RuleId};
use http::StatusCode;
use http::header::LOCATION;
use rules::Condition;
use store::PutRuleOutcome;

use crate::http::app::App;
use crate::http::auth::{AuthError, Authorized};
use crate::http::describe::{Routes, routes};
use crate::http::error::{ApiError, HttpError, RequestError, ServiceError};
use crate::http::extract::json::JsonBody;
use crate::http::extract::{NoQuery, PathId};
use crate::http::scope::{DetectionsRead, RulesWrite};
use crate::http::v1::view;

/// Maximum number of rules of a tenant, because each is evaluated for each of its detections.
const MAX_RULES: usize = 100;

/// Why a rule is not found, created or changed.
#[derive(Debug, thiserror::Error)]
enum RuleError {
    /// No rule of the caller has the id.
    #[error("there is no rule {0}")]
    NotFound(RuleId),
    /// Another rule has the name.
    #[error("there is already a rule named {0:?}; alerts contain the rule's name, so choose another one")]
    NameTaken(String),
    /// The tenant has [`MAX_RULES`].
    #[error("there are already {MAX_RULES} rules; delete one first")]
    TooMany,
    /// The rule is built in.
    #[error("the rule {0} is built in; the operator enables and disables it in the settings")]
    BuiltIn(String),
}

impl HttpError for RuleError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::NameTaken(_) => (StatusCode::CONFLICT, "rule_name_taken"),
            Self::TooMany | Self::BuiltIn(_) => (StatusCode::CONFLICT, "conflict"),
        }
    }
}

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, one, create, change, remove]
}

/// All rules: first the built-in ones, then those of the caller by name.
#[utoipa::path(
    get, path = "/v1/rules", operation_id = "list_rules", tag = "rules", responses((status = 200, body = Page<RuleView>))
)]
pub async fn list(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<DetectionsRead>,
    _: NoQuery,
) -> Result<Json<Page<RuleView>>, ApiError> {
    let own = app.documents.rules(&caller.tenant).await?;
    let items = app.built_in_rules.iter().cloned().chain(own).map(view::rule).collect();
    // There are few rules, so there is only one page.
    Ok(Json(Page { items, next_cursor: None }))
}

/// One rule.
#[utoipa::path(
    get, path = "/v1/rules/{id}", operation_id = "get_rule", tag = "rules", params(("id" = RuleId, Path, description = "The rule's id")),
    responses(
        (status = 200, body = RuleView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no rule has the id"),
    )
)]
pub async fn one(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<DetectionsRead>,
    PathId(id): PathId<RuleId>,
    _: NoQuery,
) -> Result<Json<RuleView>, ApiError> {
    if let Some(built_in) = app.built_in_rules.iter().find(|rule| rule.id == id) {
        return Ok(Json(view::rule(built_in.clone())));
    }
    own_rule(&app, &caller, id).await.map(|rule| Json(view::rule(rule)))
}

/// Creates a rule. It applies to all detections that are indexed from about a second later on.
#[utoipa::path(
    post, path = "/v1/rules", operation_id = "make_rule", tag = "rules", request_body = NewRule,
    responses(
        (status = 201, body = RuleView, description = "The rule is created",
            headers(("Location" = String, description = "The path of the rule"))),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`rule_name_taken`: another rule has this name; `conflict`: the tenant has too many"),
    )
)]
pub async fn create(
    State(app): State<App>,
    editor: Authorized<RulesWrite>,
    _: NoQuery,
    JsonBody(new): JsonBody<NewRule>,
) -> Result<Response, ApiError> {
    let rule = Rule {
        id: RuleId::now(),
        tenant: Some(editor.caller.tenant.clone()),
        name: new.name,
        condition: new.condition,
        enabled: new.enabled.unwrap_or(true),
    };
    check(&rule).await?;
    check_name_is_free(&app, &rule)?;
    if app.documents.rules(&editor.caller.tenant).await?.len() >= MAX_RULES {
        return Err(RuleError::TooMany.into());
    }
    put(&app, &editor.caller, &rule, true).await?;
    let location = [(LOCATION, format!("/v1/rules/{}", rule.id))];
    Ok((StatusCode::CREATED, location, Json(view::rule(rule))).into_response())
}

/// Changes a rule of the caller.
#[utoipa::path(
    patch, path = "/v1/rules/{id}", operation_id = "change_rule", tag = "rules", request_body = RuleChange,
    params(("id" = RuleId, Path, description = "The rule's id")),
    responses(
        (status = 200, body = RuleView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no rule has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`rule_name_taken`: another rule has this name; `conflict`: it is built in"),
    )
)]
pub async fn change(
    State(app): State<App>,
    editor: Authorized<RulesWrite>,
    PathId(id): PathId<RuleId>,
    _: NoQuery,
    JsonBody(change): JsonBody<RuleChange>,
) -> Result<Json<RuleView>, ApiError> {
    check_editable(&app, id)?;
    let before = own_rule(&app, &editor.caller, id).await?;
    let renamed = change.name.as_ref().is_some_and(|name| *name != before.name);
    let rule = Rule {
        name: change.name.unwrap_or(before.name),
        condition: change.condition.unwrap_or(before.condition),
        enabled: change.enabled.unwrap_or(before.enabled),
        ..before
    };
    check(&rule).await?;
    if renamed {
        check_name_is_free(&app, &rule)?;
    }
    put(&app, &editor.caller, &rule, false).await?;
    Ok(Json(view::rule(rule)))
}

/// Deletes a rule of the caller. Its alerts are kept.
#[utoipa::path(
    delete, path = "/v1/rules/{id}", operation_id = "delete_rule", tag = "rules", params(("id" = RuleId, Path, description = "The rule's id")),
    responses(
        (status = 204, description = "The rule is deleted"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no rule has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: it is built in"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    editor: Authorized<RulesWrite>,
    PathId(id): PathId<RuleId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    check_editable(&app, id)?;
    let existed = app.documents.delete_rule(&editor.caller.tenant, id).await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(RuleError::NotFound(id).into()) }
}

async fn own_rule(app: &App, caller: &Caller, id: RuleId) -> Result<Rule, ApiError> {
    let rules = app.documents.rules(&caller.tenant).await?;
    Ok(rules.into_iter().find(|rule| rule.id == id).ok_or(RuleError::NotFound(id))?)
}

fn check_editable(app: &App, id: RuleId) -> Result<(), RuleError> {
    match app.built_in_rules.iter().find(|rule| rule.id == id) {
        None => Ok(()),
        Some(rule) => Err(RuleError::BuiltIn(rule.name.clone())),
    }
}

/// Writes a rule for a user who is active before and after the write.
///
/// The user may be deleted while the request arrives. Data that is written after its documents were erased is deleted here:
/// unlike results, rules have no retention.
async fn put(app: &App, caller: &Caller, rule: &Rule, is_new: bool) -> Result<(), ApiError> {
    if user_state(app, caller).await? != UserState::Active {
        return Err(AuthError::InvalidCredential.into());
    }
    match app.documents.put_rule(rule).await? {
        PutRuleOutcome::Stored => {}
        PutRuleOutcome::NameTaken => return Err(RuleError::NameTaken(rule.name.clone()).into()),
    }
    let after = user_state(app, caller).await;
    // A user that is only disabled keeps the rules that it had.
    let keeps = matches!(after, Ok(UserState::Active)) || !is_new && !matches!(after, Ok(UserState::Deleted));
    if keeps {
        return Ok(());
    }
    app.documents.delete_rule(&caller.tenant, rule.id).await?;
    after?;
    Err(AuthError::InvalidCredential.into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UserState {
    Active,
    /// Also a user whose deletion is in progress.
    Disabled,
    Deleted,
}

/// The state of the caller's user in the database. The operator's own token is always active.
async fn user_state(app: &App, caller: &Caller) -> Result<UserState, ApiError> {
    let Some(id) = caller.user else { return Ok(UserState::Active) };
    match app.users.user(id).await {
        Ok(user) if user.disabled => Ok(UserState::Disabled),
        Ok(_) => Ok(UserState::Active),
        Err(AccountError::NotFound(_)) => Ok(UserState::Deleted),
        Err(error) => Err(error.into()),
    }
}

/// Refuses the name of a built-in rule.
fn check_name_is_free(app: &App, rule: &Rule) -> Result<(), RuleError> {
    let taken = app.built_in_rules.iter().any(|built_in| built_in.name == rule.name);
    if taken { Err(RuleError::NameTaken(rule.name.clone())) } else { Ok(()) }
}

async fn check(rule: &Rule) -> Result<(), ApiError> {
    let length = rule.name.chars().count();
    if rule.name.trim().is_empty() || length > 64 || rule.name.chars().any(char::is_control) {
        let reason = "name must have 1 to 64 characters and no control characters".to_owned();
        return Err(RequestError::Invalid(reason).into());
    }
    let source = rule.condition.clone();
    let compiled = tokio::task::spawn_blocking(move || Condition::compile(&source).map(drop)).await;
    let compiled = compiled.map_err(|error| ServiceError::Internal(error.into()))?;
    Ok(compiled.map_err(|error| RequestError::Invalid(format!("condition: {error}")))?)
}
