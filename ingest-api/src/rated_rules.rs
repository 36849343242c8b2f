//! Rates rules: what each costs, and whether the indexer evaluates it.
//!
//! In: the rules of one tenant, or the built-in ones. Out: the same rules with cost and state. The crate `rules` decides both from the
//! rules alone, so the state is what the indexer does, and nothing has to be stored or sent.

use std::collections::HashSet;

use contracts::api::RuleState;
use contracts::{Rule, RuleId};
use moka::sync::Cache;
use rules::{Condition, Error, MAX_TENANT_COST, within_budget};

/// Maximum number of conditions whose costs are remembered, at most 2 KiB each.
const REMEMBERED: u64 = 4_096;

/// A rule with its state.
#[derive(Debug)]
pub struct RatedRule {
    /// The rule.
    pub rule: Rule,
    /// The cost of its condition in steps; `None` if it is invalid.
    pub cost: Option<u32>,
    /// Whether it is evaluated.
    pub state: RuleState,
    /// Why it is too costly or invalid.
    pub reason: Option<String>,
}

/// The cost of a condition, or why it is refused.
type Cost = Result<u32, Error>;

/// Costs of conditions by their text. Compiling takes up to milliseconds, and a list has up to a hundred rules.
pub struct RuleCosts(Cache<String, Cost>);

impl Default for RuleCosts {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl RuleCosts {
    /// The cost of a condition. Blocks while a condition is compiled that is not remembered.
    pub fn of(&self, condition: &str) -> Cost {
        self.0.get_with_by_ref(condition, || Condition::compile(condition).map(|condition| condition.cost()))
    }

    /// Rates the rules of one tenant. Blocks like [`RuleCosts::of`].
    pub fn rate(&self, rules: Vec<Rule>) -> Vec<RatedRule> {
        let costs: Vec<Cost> = rules.iter().map(|rule| self.of(&rule.condition)).collect();
        let within = evaluated(rules.iter().zip(&costs));
        let used = used(rules.iter().zip(&costs), &within);
        rules.into_iter().zip(costs).map(|(rule, cost)| rated(rule, cost, &within, used)).collect()
    }
}

/// The rules that are evaluated: enabled, valid, and within the budget of their tenant.
fn evaluated<'a>(rules: impl Iterator<Item = (&'a Rule, &'a Cost)>) -> HashSet<RuleId> {
    let enabled = rules.filter(|(rule, _)| rule.enabled && rule.tenant.is_some());
    within_budget(enabled.filter_map(|(rule, cost)| Some((rule.id, *cost.as_ref().ok()?))))
}

/// The steps of the budget that the evaluated rules use.
fn used<'a>(rules: impl Iterator<Item = (&'a Rule, &'a Cost)>, within: &HashSet<RuleId>) -> u32 {
    rules.filter(|(rule, _)| within.contains(&rule.id)).filter_map(|(_, cost)| cost.as_ref().ok()).sum()
}

fn rated(rule: Rule, cost: Cost, within: &HashSet<RuleId>, used: u32) -> RatedRule {
    let is_evaluated = rule.tenant.is_none() || within.contains(&rule.id);
    let (cost, state, reason) = match cost {
        Err(error @ Error::TooCostly(cost)) => (Some(cost), RuleState::TooCostly, Some(error.to_string())),
        Err(error) => (None, RuleState::Invalid, Some(format!("{error}; correct it"))),
        Ok(cost) if is_evaluated => (Some(cost), RuleState::Active, None),
        Ok(cost) => (Some(cost), RuleState::TooCostly, Some(over_budget(cost, used))),
    };
    if rule.enabled {
        return RatedRule { rule, cost, state, reason };
    }
    RatedRule { rule, cost, state: RuleState::Disabled, reason: None }
}

/// Why a rule does not fit into the budget, and what to do.
pub fn over_budget(cost: u32, used: u32) -> String {
    format!(
        "the condition costs {cost} steps for each detection, and the enabled rules together may cost {MAX_TENANT_COST}, of \
         which others use {used}: shorten conditions, or disable or delete rules"
    )
}
