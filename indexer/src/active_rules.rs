//! The active rules: the built-in ones and the tenants', with the watchlists that they name, refreshed every second.
//!
//! A rule that costs too much, alone or together with the older rules of its tenant, is not active ([`within_budget`]). The API shows
//! the same to its owner.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consumer_kit::{Retry, backoff, repeat};
use contracts::{Rule, RuleId, TenantId};
use metrics::{counter, gauge};
use rules::{BuiltInRuleSettings, Condition, Error, NO_WATCHLISTS, Subject, Watchlists, built_in_rules, within_budget};
use store::{RuleStore, StoreError, WatchlistStore};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::active_watchlists::{ActiveWatchlists, ListKey};

/// Longest delay before a changed rule is active.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// A rule that is enabled and compiles.
pub struct ActiveRule {
    /// Its id.
    pub id: RuleId,
    /// Its name.
    pub name: String,
    condition: Condition,
    error_logged: AtomicBool,
}

impl ActiveRule {
    /// Whether a subject matches. A condition that fails to evaluate does not match; its first error is logged.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        match self.condition.matches(subject) {
            Ok(response) => response,
            Err(error) => {
                counter!("sightline_indexer_rule_errors_total").increment(1);
                if !self.error_logged.swap(true, Ordering::Relaxed) {
                    tracing::warn!(rule.id = %self.id, %error, "a rule fails for some detections; they do not match it");
                }
                false
            }
        }
    }
}

/// The active rules at one moment.
#[derive(Default)]
pub struct RuleSet {
    built_in: Vec<Arc<ActiveRule>>,
    tenants: HashMap<TenantId, Vec<Arc<ActiveRule>>>,
    watchlists: HashMap<TenantId, Watchlists>,
}

impl RuleSet {
    /// The rules that apply to a tenant's detections.
    pub fn of(&self, tenant: &TenantId) -> impl Iterator<Item = &ActiveRule> {
        let own = self.tenants.get(tenant).map(Vec::as_slice).unwrap_or_default();
        self.built_in.iter().chain(own).map(Arc::as_ref)
    }

    /// The watchlists of a tenant, as far as its rules name them.
    pub fn watchlists(&self, tenant: &TenantId) -> &Watchlists {
        self.watchlists.get(tenant).unwrap_or(&NO_WATCHLISTS)
    }

    /// The watchlists that the rules of tenants name.
    fn named_lists(&self) -> HashSet<ListKey> {
        let of_rule = |tenant: &TenantId, rule: &ActiveRule| -> Vec<ListKey> {
            rule.condition.watchlists().map(|name| (tenant.clone(), name.clone())).collect()
        };
        let of_tenant = |(tenant, rules): (&TenantId, &Vec<Arc<ActiveRule>>)| -> Vec<ListKey> {
            rules.iter().flat_map(|rule| of_rule(tenant, rule)).collect()
        };
        self.tenants.iter().flat_map(of_tenant).collect()
    }

    /// The cost of these rules together, in steps for each detection.
    pub fn cost(&self, tenant: &TenantId) -> u32 {
        self.of(tenant).map(|rule| rule.condition.cost()).sum()
    }
}

/// The active rules, refreshed in the background.
pub struct ActiveRules {
    built_in: Vec<Rule>,
    store: Arc<dyn RuleStore>,
    current: watch::Sender<Arc<RuleSet>>,
    compiled: tokio::sync::Mutex<CompiledRules>,
    watchlists: ActiveWatchlists,
}

impl ActiveRules {
    /// Reads the rules for the first time, with retries: without the tenants' rules no result may be indexed. Returns `None`
    /// when `stop` comes first.
    pub async fn start(
        settings: BuiltInRuleSettings,
        store: Arc<dyn RuleStore>,
        watchlists: Arc<dyn WatchlistStore>,
        stop: &CancellationToken,
    ) -> Option<Arc<Self>> {
        let rules = Arc::new(Self {
            built_in: built_in_rules(&settings),
            store,
            current: watch::Sender::new(Arc::default()),
            compiled: tokio::sync::Mutex::default(),
            watchlists: ActiveWatchlists::new(watchlists),
        });
        let mut retry = Retry::new("the rules cannot be read", backoff::STORE, stop);
        while let Err(error) = rules.refresh().await {
            tracing::warn!(%error, "the rules cannot be read; trying again");
            retry.wait().await.ok()?;
        }
        Some(rules)
    }

    /// The current rules.
    pub fn now(&self) -> Arc<RuleSet> {
        Arc::clone(&self.current.borrow())
    }

    /// Reads the rules every second, until `stop`. While they cannot be read, the last ones stay active.
    pub async fn keep_fresh(&self, stop: &CancellationToken) {
        repeat(REFRESH_EVERY, stop, "the rules cannot be read; the last ones stay active", || self.refresh()).await;
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        let mut rules = self.built_in.clone();
        rules.extend(self.store.all_rules().await?);
        rules.retain(|rule| rule.enabled);
        let mut set = self.compiled.lock().await.update(rules).await;
        set.watchlists = self.watchlists.read(set.named_lists()).await?;
        self.current.send_replace(Arc::new(set));
        Ok(())
    }
}

/// The rules compiled by the last refresh. An unchanged rule is not compiled again, and a broken one is logged once.
#[derive(Default)]
struct CompiledRules {
    valid: HashMap<RuleId, (Rule, Arc<ActiveRule>)>,
    invalid: HashSet<(RuleId, String)>,
    too_costly: HashSet<RuleId>,
}

impl CompiledRules {
    /// Compiles new and changed rules, and forgets deleted ones.
    async fn update(&mut self, rules: Vec<Rule>) -> RuleSet {
        let (mut valid, mut invalid) = (HashMap::new(), HashSet::new());
        for rule in rules {
            let known = self.valid.remove(&rule.id).filter(|(before, _)| *before == rule).map(|(_, active)| active);
            let key = (rule.id, rule.condition.clone());
            if known.is_none() && self.invalid.contains(&key) {
                invalid.insert(key);
                continue;
            }
            let compiled = match known {
                Some(known) => Some(known),
                None => compile(&rule).await,
            };
            let Some(compiled) = compiled else {
                invalid.insert(key);
                continue;
            };
            valid.insert(rule.id, (rule, compiled));
        }
        (self.valid, self.invalid) = (valid, invalid);
        let set = self.keep_budgets();
        let count = |rules: usize| u32::try_from(rules).unwrap_or(u32::MAX);
        gauge!("sightline_indexer_rules").set(count(self.valid.len() - self.too_costly.len()));
        gauge!("sightline_indexer_rules_broken").set(count(self.invalid.len()));
        gauge!("sightline_indexer_rules_too_costly").set(count(self.too_costly.len()));
        set
    }

    /// The valid rules that are within the budgets of their tenants. The others are logged once.
    fn keep_budgets(&mut self) -> RuleSet {
        let mut set = RuleSet::default();
        for (rule, compiled) in self.valid.values() {
            let rules = match &rule.tenant {
                Some(tenant) => set.tenants.entry(tenant.clone()).or_default(),
                None => &mut set.built_in,
            };
            rules.push(Arc::clone(compiled));
        }
        // The order of alerts does not depend on the order of a map.
        set.built_in.sort_unstable_by_key(|rule| rule.id);
        let before = std::mem::take(&mut self.too_costly);
        for (tenant, rules) in &mut set.tenants {
            rules.sort_unstable_by_key(|rule| rule.id);
            let within = within_budget(rules.iter().map(|rule| (rule.id, rule.condition.cost())));
            for rule in rules.extract_if(.., |rule| !within.contains(&rule.id)) {
                self.too_costly.insert(rule.id);
                if !before.contains(&rule.id) {
                    let cost = rule.condition.cost();
                    tracing::warn!(rule.id = %rule.id, %tenant, cost, "a rule is not evaluated: the rules of its tenant cost too much");
                }
            }
        }
        set
    }
}

async fn compile(rule: &Rule) -> Option<Arc<ActiveRule>> {
    let source = rule.condition.clone();
    let condition = match tokio::task::spawn_blocking(move || Condition::compile(&source)).await {
        Ok(Ok(condition)) => condition,
        Ok(Err(error @ Error::TooCostly(_))) => {
            tracing::warn!(rule.id = %rule.id, %error, "a rule is not evaluated: it costs too much");
            return None;
        }
        Ok(Err(error)) => {
            tracing::warn!(rule.id = %rule.id, %error, "a rule does not compile and is ignored; correct it");
            return None;
        }
        Err(error) => {
            tracing::warn!(rule.id = %rule.id, %error, "a rule could not be compiled and is ignored");
            return None;
        }
    };
    Some(Arc::new(ActiveRule { id: rule.id, name: rule.name.clone(), condition, error_logged: AtomicBool::new(false) }))
}
