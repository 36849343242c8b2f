//! Alert rules: those of a tenant, and the built-in ones, which are read-only.

use std::collections::HashSet;

use accounts::Caller;
use api_kit::auth::Authorized;
use api_kit::error::{ApiError, HttpError, RequestError, ServiceError};
use api_kit::extract::{NoQuery, PathId};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use api_kit::scope::{DetectionsRead, RulesWrite};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::api::{NewRule, Page, Problem, RuleChange, RuleState, RuleView};
use contracts::{Rule, RuleId};
use http::StatusCode;
use http::header::LOCATION;
use store::PutRuleOutcome;

use crate::http::Routes;
use crate::http::app::App;
use crate::http::v1::active_user::check_active;
use crate::http::v1::view;
use crate::rated_rules::{RatedRule, over_budget};

/// Maximum number of rules of a tenant, because each is evaluated for each of its detections.
const MAX_RULES: usize = 100;
/// How often a change begins again because others changed the same rule.
const MAX_TRIES: usize = 20;

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
    /// The enabled rules of the tenant would cost too much together.
    #[error("{0}")]
    OverBudget(String),
    /// Other requests changed the rule each time.
    #[error("other requests change the rule {0} at the same time; try again")]
    Contended(RuleId),
    /// The rule is built in.
    #[error("the rule {0} is built in; the operator enables and disables it in the settings")]
    BuiltIn(String),
}

impl HttpError for RuleError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::NameTaken(_) => (StatusCode::CONFLICT, "rule_name_taken"),
            Self::OverBudget(_) => (StatusCode::CONFLICT, "rules_too_costly"),
            Self::TooMany | Self::Contended(_) | Self::BuiltIn(_) => (StatusCode::CONFLICT, "conflict"),
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
    let rated = rate(&app, app.built_in_rules.iter().cloned().chain(own).collect()).await?;
    let items = rated.into_iter().map(view::rule).collect();
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
    let mut rules = app.built_in_rules.clone();
    if rules.iter().all(|rule| rule.id != id) {
        rules = app.documents.rules(&caller.tenant).await?;
    }
    Ok(Json(view::rule(rated_rule(&app, rules, id).await?)))
}

/// Creates a rule. It applies to all detections that are indexed from about a second later on.
#[utoipa::path(
    post, path = "/v1/rules", operation_id = "make_rule", tag = "rules", request_body = NewRule,
    responses(
        (status = 201, body = RuleView, description = "The rule is created",
            headers(("Location" = String, description = "The path of the rule"))),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`rule_name_taken`: another rule has this name; `rules_too_costly`: the enabled rules together cost too much; \
                           `conflict`: the tenant has too many"),
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
    check_name(&app, &rule)?;
    check_condition(&app, &rule).await?;
    let rules = app.documents.rules(&editor.caller.tenant).await?;
    if rules.len() >= MAX_RULES {
        return Err(RuleError::TooMany.into());
    }
    let rated = rate_change(&app, rules, &rule).await?;
    create_as_active_user(&app, &editor.caller, &rule).await?;
    let location = [(LOCATION, format!("/v1/rules/{}", rule.id))];
    Ok((StatusCode::CREATED, location, Json(view::rule(rated))).into_response())
}

/// Changes a rule of the caller.
#[utoipa::path(
    patch, path = "/v1/rules/{id}", operation_id = "change_rule", tag = "rules", request_body = RuleChange,
    params(("id" = RuleId, Path, description = "The rule's id")),
    responses(
        (status = 200, body = RuleView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no rule has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`rule_name_taken`: another rule has this name; `rules_too_costly`: the enabled rules together cost too much; \
                           `conflict`: it is built in"),
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
    // A change that another one overtook starts again from the changed rule, so that neither is lost.
    for _ in 0..MAX_TRIES {
        if let Some(rated) = try_change(&app, &editor.caller, id, &change).await? {
            return Ok(Json(view::rule(rated)));
        }
    }
    Err(RuleError::Contended(id).into())
}

/// Applies a change to a rule as it is now. `None` if the rule was changed meanwhile.
async fn try_change(
    app: &App,
    caller: &Caller,
    id: RuleId,
    change: &RuleChange,
) -> Result<Option<RatedRule>, ApiError> {
    let rules = app.documents.rules(&caller.tenant).await?;
    let before = rules.iter().find(|rule| rule.id == id).ok_or(RuleError::NotFound(id))?.clone();
    let rule = Rule {
        name: change.name.clone().unwrap_or_else(|| before.name.clone()),
        condition: change.condition.clone().unwrap_or_else(|| before.condition.clone()),
        enabled: change.enabled.unwrap_or(before.enabled),
        ..before.clone()
    };
    if rule.name != before.name {
        check_name(app, &rule)?;
    }
    // A rule of an earlier version that is refused now can still be renamed and disabled.
    if rule.condition != before.condition || rule.enabled && !before.enabled {
        check_condition(app, &rule).await?;
    }
    let rated = rate_change(app, rules, &rule).await?;
    match replace_as_active_user(app, caller, &before, &rule).await? {
        PutRuleOutcome::Changed => Ok(None),
        outcome => {
            stored(outcome, &rule)?;
            Ok(Some(rated))
        }
    }
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

/// Rates rules, off the async threads: a condition may have to be compiled.
async fn rate(app: &App, rules: Vec<Rule>) -> Result<Vec<RatedRule>, ApiError> {
    let app = app.clone();
    let rated = tokio::task::spawn_blocking(move || app.rule_costs.rate(rules)).await;
    Ok(rated.map_err(|error| ServiceError::Internal(error.into()))?)
}

/// One of these rules with its state, which depends on the others.
async fn rated_rule(app: &App, rules: Vec<Rule>, id: RuleId) -> Result<RatedRule, ApiError> {
    let rated = rate(app, rules).await?;
    Ok(rated.into_iter().find(|rated| rated.rule.id == id).ok_or(RuleError::NotFound(id))?)
}

/// Rates a new or changed rule. Refuses a rule that gets a condition or is enabled if it does not fit into the budget, or takes the
/// place of a newer one. A rule can always be renamed and disabled.
async fn rate_change(app: &App, before: Vec<Rule>, rule: &Rule) -> Result<RatedRule, ApiError> {
    let mut after = before.clone();
    after.retain(|other| other.id != rule.id);
    after.push(rule.clone());
    let (before, after) = (rate(app, before).await?, rate(app, after).await?);
    let active = |rules: &[RatedRule]| -> HashSet<RuleId> {
        rules.iter().filter(|rated| rated.state == RuleState::Active).map(|rated| rated.rule.id).collect()
    };
    let stops_another = active(&before).difference(&active(&after)).any(|id| *id != rule.id);
    let known = before.iter().find(|rated| rated.rule.id == rule.id).map(|rated| &rated.rule);
    let evaluates_more = rule.enabled && known.is_none_or(|known| known.condition != rule.condition || !known.enabled);
    let rated = after.into_iter().find(|rated| rated.rule.id == rule.id).ok_or(RuleError::NotFound(rule.id))?;
    if evaluates_more && (stops_another || rated.state == RuleState::TooCostly) {
        let others = before.iter().filter(|other| other.rule.id != rule.id && other.state == RuleState::Active);
        let used = others.filter_map(|other| other.cost).sum();
        return Err(RuleError::OverBudget(over_budget(rated.cost.unwrap_or_default(), used)).into());
    }
    Ok(rated)
}

fn check_editable(app: &App, id: RuleId) -> Result<(), RuleError> {
    match app.built_in_rules.iter().find(|rule| rule.id == id) {
        None => Ok(()),
        Some(rule) => Err(RuleError::BuiltIn(rule.name.clone())),
    }
}

/// Creates a rule for a user who is active before and after the write.
///
/// The user may be deleted while the request arrives. A rule that is created after the user's documents were erased is deleted
/// here: unlike results, rules have no retention. So is a rule whose request saw room for it when others did, too: the last of
/// them that counts finds all of them.
async fn create_as_active_user(app: &App, caller: &Caller, rule: &Rule) -> Result<(), ApiError> {
    check_active(app, caller).await?;
    stored(app.documents.create_rule(rule).await?, rule)?;
    let after = check_stored(app, caller).await;
    if after.is_err() {
        app.documents.delete_rule(&caller.tenant, rule.id).await?;
    }
    after
}

/// Refuses a rule that was created after its user was deleted, or beside others that together are too many.
async fn check_stored(app: &App, caller: &Caller) -> Result<(), ApiError> {
    check_active(app, caller).await?;
    if app.documents.rules(&caller.tenant).await?.len() > MAX_RULES {
        return Err(RuleError::TooMany.into());
    }
    Ok(())
}

/// Replaces a rule that still exists. If the user's documents are erased meanwhile, the database finds no rule to replace, whichever
/// of the two comes first.
async fn replace_as_active_user(
    app: &App,
    caller: &Caller,
    before: &Rule,
    after: &Rule,
) -> Result<PutRuleOutcome, ApiError> {
    check_active(app, caller).await?;
    Ok(app.documents.replace_rule(before, after).await?)
}

fn stored(outcome: PutRuleOutcome, rule: &Rule) -> Result<(), RuleError> {
    match outcome {
        PutRuleOutcome::Stored => Ok(()),
        PutRuleOutcome::NameTaken => Err(RuleError::NameTaken(rule.name.clone())),
        PutRuleOutcome::NotFound => Err(RuleError::NotFound(rule.id)),
        PutRuleOutcome::Changed => Err(RuleError::Contended(rule.id)),
    }
}

/// Refuses an invalid name, and that of a built-in rule in any spelling: alerts of a look-alike would be taken for those of the
/// built-in rule.
fn check_name(app: &App, rule: &Rule) -> Result<(), ApiError> {
    if !contracts::is_label(&rule.name) {
        let reason = "name must have 1 to 64 characters and no control characters".to_owned();
        return Err(RequestError::Invalid(reason).into());
    }
    let taken = app.built_in_rules.iter().any(|built_in| folded(&built_in.name) == folded(&rule.name));
    if taken { Err(RuleError::NameTaken(rule.name.clone()).into()) } else { Ok(()) }
}

/// A name in lower case, without blanks and invisible characters.
fn folded(name: &str) -> String {
    let is_invisible = |character: char| {
        character.is_whitespace()
            || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
    };
    name.chars().filter(|character| !is_invisible(*character)).flat_map(char::to_lowercase).collect()
}

async fn check_condition(app: &App, rule: &Rule) -> Result<(), ApiError> {
    let (app, condition) = (app.clone(), rule.condition.clone());
    let cost = tokio::task::spawn_blocking(move || app.rule_costs.of(&condition)).await;
    let cost = cost.map_err(|error| ServiceError::Internal(error.into()))?;
    Ok(cost.map(drop).map_err(|error| RequestError::Invalid(format!("condition: {error}")))?)
}
