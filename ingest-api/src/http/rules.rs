//! Alert rules: a tenant's own, and those that come with the product, which are read only here.

use accounts::Caller;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::api::{NewRule, Page, Problem, RuleChange, RuleView};
use contracts::{Rule, RuleId};
use http::StatusCode;
use http::header::LOCATION;
use rules::Condition;
use store::RulePut;

use crate::app::App;
use crate::http::docs::{BodyProblems, Problems};
use crate::http::extract::{Id, MayEditRules, MayRead, NoQuery};
use crate::http::json::JsonBody;
use crate::http::{ApiError, Routes};
use crate::view;

/// Most rules of a tenant: each is evaluated for each of its detections.
const MAX_RULES: usize = 100;

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/rules", get(list).post(create)), ("/v1/rules/{id}", get(one).patch(change).delete(remove))]
}

/// All rules: those that come with the product first, then the caller's by name.
#[utoipa::path(
    get, path = "/v1/rules", operation_id = "list_rules", security(("oauth2" = ["detections:read"]), ("bearer" = [])), tag = "rules", responses((status = 200, body = Page<RuleView>), Problems)
)]
pub async fn list(
    State(app): State<App>,
    MayRead(caller): MayRead,
    _: NoQuery,
) -> Result<Json<Page<RuleView>>, ApiError> {
    let own = app.documents.rules(&caller.tenant).await?;
    let items = app.built_in_rules.iter().cloned().chain(own).map(view::rule).collect();
    // At most a hundred and a few: always one page.
    Ok(Json(Page { items, next_cursor: None }))
}

/// One rule.
#[utoipa::path(
    get, path = "/v1/rules/{id}", operation_id = "get_rule", security(("oauth2" = ["detections:read"]), ("bearer" = [])), tag = "rules", params(("id" = RuleId, Path, description = "The rule's id")),
    responses(
        (status = 200, body = RuleView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: there is none"),
        Problems,
    )
)]
pub async fn one(
    State(app): State<App>,
    MayRead(caller): MayRead,
    Id(id): Id<RuleId>,
    _: NoQuery,
) -> Result<Json<RuleView>, ApiError> {
    if let Some(built_in) = app.built_in_rules.iter().find(|rule| rule.id == id) {
        return Ok(Json(view::rule(built_in.clone())));
    }
    own(&app, &caller, id).await.map(|rule| Json(view::rule(rule)))
}

/// Makes a rule. It is in force for every detection that is indexed from about now on.
#[utoipa::path(
    post, path = "/v1/rules", operation_id = "make_rule", security(("oauth2" = ["rules:write"]), ("bearer" = [])), tag = "rules", request_body = NewRule,
    responses(
        (status = 201, body = RuleView, description = "It is made",
            headers(("Location" = String, description = "Where it is"))),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`rule_name_taken`: another rule has this name; `conflict`: there are too many"),
        BodyProblems,
    )
)]
pub async fn create(
    State(app): State<App>,
    MayEditRules(caller): MayEditRules,
    _: NoQuery,
    JsonBody(new): JsonBody<NewRule>,
) -> Result<Response, ApiError> {
    let rule = Rule {
        id: RuleId::now(),
        tenant: Some(caller.tenant.clone()),
        name: new.name,
        condition: new.condition,
        enabled: new.enabled.unwrap_or(true),
    };
    check(&rule).await?;
    no_built_in(&app, &rule)?;
    if app.documents.rules(&caller.tenant).await?.len() >= MAX_RULES {
        return Err(ApiError::Conflict(format!("there are {MAX_RULES} rules already; delete one first")));
    }
    put(&app, &rule).await?;
    let location = [(LOCATION, format!("/v1/rules/{}", rule.id))];
    Ok((StatusCode::CREATED, location, Json(view::rule(rule))).into_response())
}

/// Changes a rule of the caller's.
#[utoipa::path(
    patch, path = "/v1/rules/{id}", operation_id = "change_rule", security(("oauth2" = ["rules:write"]), ("bearer" = [])), tag = "rules", request_body = RuleChange,
    params(("id" = RuleId, Path, description = "The rule's id")),
    responses(
        (status = 200, body = RuleView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: there is none"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`rule_name_taken`: another rule has this name; `conflict`: it comes with the product"),
        BodyProblems,
    )
)]
pub async fn change(
    State(app): State<App>,
    MayEditRules(caller): MayEditRules,
    Id(id): Id<RuleId>,
    _: NoQuery,
    JsonBody(change): JsonBody<RuleChange>,
) -> Result<Json<RuleView>, ApiError> {
    editable(&app, id)?;
    let before = own(&app, &caller, id).await?;
    let renamed = change.name.as_ref().is_some_and(|name| *name != before.name);
    let rule = Rule {
        name: change.name.unwrap_or(before.name),
        condition: change.condition.unwrap_or(before.condition),
        enabled: change.enabled.unwrap_or(before.enabled),
        ..before
    };
    check(&rule).await?;
    if renamed {
        no_built_in(&app, &rule)?;
    }
    put(&app, &rule).await?;
    Ok(Json(view::rule(rule)))
}

/// Deletes a rule of the caller's. The alerts that it raised stay.
#[utoipa::path(
    delete, path = "/v1/rules/{id}", operation_id = "delete_rule", security(("oauth2" = ["rules:write"]), ("bearer" = [])), tag = "rules", params(("id" = RuleId, Path, description = "The rule's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: there is none"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: it comes with the product"),
        Problems,
    )
)]
pub async fn remove(
    State(app): State<App>,
    MayEditRules(caller): MayEditRules,
    Id(id): Id<RuleId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    editable(&app, id)?;
    let was_there = app.documents.delete_rule(&caller.tenant, id).await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(none(id)) }
}

async fn own(app: &App, caller: &Caller, id: RuleId) -> Result<Rule, ApiError> {
    let rules = app.documents.rules(&caller.tenant).await?;
    rules.into_iter().find(|rule| rule.id == id).ok_or_else(|| none(id))
}

fn none(id: RuleId) -> ApiError {
    ApiError::NotFound(format!("there is no rule {id}"))
}

fn editable(app: &App, id: RuleId) -> Result<(), ApiError> {
    match app.built_in_rules.iter().find(|rule| rule.id == id) {
        None => Ok(()),
        Some(rule) => Err(ApiError::Conflict(format!(
            "the rule {} comes with the product; the operator switches it by the settings",
            rule.name
        ))),
    }
}

async fn put(app: &App, rule: &Rule) -> Result<(), ApiError> {
    match app.documents.put_rule(rule).await? {
        RulePut::Stored => Ok(()),
        RulePut::NameTaken => Err(ApiError::RuleNameTaken(rule.name.clone())),
    }
}

/// Refuses the name of a rule that comes with the product.
fn no_built_in(app: &App, rule: &Rule) -> Result<(), ApiError> {
    let taken = app.built_in_rules.iter().any(|built_in| built_in.name == rule.name);
    if taken { Err(ApiError::RuleNameTaken(rule.name.clone())) } else { Ok(()) }
}

async fn check(rule: &Rule) -> Result<(), ApiError> {
    let length = rule.name.chars().count();
    if rule.name.trim().is_empty() || length > 64 || rule.name.chars().any(char::is_control) {
        return Err(ApiError::Invalid("name must have 1 to 64 characters, none of them control characters".to_owned()));
    }
    let source = rule.condition.clone();
    let compiled = tokio::task::spawn_blocking(move || Condition::compile(&source).map(drop)).await;
    let compiled = compiled.map_err(|error| ApiError::Internal(error.into()))?;
    compiled.map_err(|error| ApiError::Invalid(format!("condition: {error}")))
}
