//! The active rules: the built-in ones and the tenants', refreshed every second.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consumer_kit::{Retry, backoff};
use contracts::{Rule, RuleId, TenantId};
use metrics::{counter, gauge};
use rules::{BuiltInRuleSettings, Condition, Subject, built_in_rules};
use store::{RuleStore, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
}

impl RuleSet {
    /// The rules that apply to a tenant's detections.
    pub fn of(&self, tenant: &TenantId) -> impl Iterator<Item = &ActiveRule> {
        let own = self.tenants.get(tenant).map(Vec::as_slice).unwrap_or_default();
        self.built_in.iter().chain(own).map(Arc::as_ref)
    }
}

/// The active rules, refreshed in the background.
pub struct ActiveRules {
    built_in: Vec<Rule>,
    store: Arc<dyn RuleStore>,
    current: watch::Sender<Arc<RuleSet>>,
    compiled: tokio::sync::Mutex<CompiledRules>,
}

impl ActiveRules {
    /// Reads the rules for the first time, with retries: without the tenants' rules no result may be indexed. Returns `None`
    /// when `stop` comes first.
    pub async fn start(
        settings: BuiltInRuleSettings,
        store: Arc<dyn RuleStore>,
        stop: &CancellationToken,
    ) -> Option<Arc<Self>> {
        let rules = Arc::new(Self {
            built_in: built_in_rules(&settings),
            store,
            current: watch::Sender::new(Arc::default()),
            compiled: tokio::sync::Mutex::default(),
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

    /// Reads the rules every second. While they cannot be read, the last ones stay active.
    pub async fn keep_fresh(&self) {
        let mut failing = false;
        loop {
            tokio::time::sleep(REFRESH_EVERY).await;
            let outcome = self.refresh().await;
            if let (Err(error), false) = (&outcome, failing) {
                tracing::warn!(%error, "the rules cannot be read; the last ones stay active");
            }
            failing = outcome.is_err();
        }
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        let mut rules = self.built_in.clone();
        rules.extend(self.store.all_rules().await?);
        rules.retain(|rule| rule.enabled);
        let set = self.compiled.lock().await.update(rules).await;
        self.current.send_replace(Arc::new(set));
        Ok(())
    }
}

/// The rules compiled by the last refresh. An unchanged rule is not compiled again, and a broken one is logged once.
#[derive(Default)]
struct CompiledRules {
    active: HashMap<RuleId, (Rule, Arc<ActiveRule>)>,
    invalid: HashSet<(RuleId, String)>,
}

impl CompiledRules {
    /// Compiles new and changed rules, and forgets deleted ones.
    async fn update(&mut self, rules: Vec<Rule>) -> RuleSet {
        let mut set = RuleSet::default();
        let (mut active, mut invalid) = (HashMap::new(), HashSet::new());
        for rule in rules {
            let known = self.active.remove(&rule.id).filter(|(before, _)| *before == rule).map(|(_, active)| active);
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
            let rules = match &rule.tenant {
                Some(tenant) => set.tenants.entry(tenant.clone()).or_default(),
                None => &mut set.built_in,
            };
            rules.push(Arc::clone(&compiled));
            active.insert(rule.id, (rule, compiled));
        }
        gauge!("sightline_indexer_rules").set(u32::try_from(active.len()).unwrap_or(u32::MAX));
        gauge!("sightline_indexer_rules_broken").set(u32::try_from(invalid.len()).unwrap_or(u32::MAX));
        (self.active, self.invalid) = (active, invalid);
        set
    }
}

async fn compile(rule: &Rule) -> Option<Arc<ActiveRule>> {
    let source = rule.condition.clone();
    let condition = match tokio::task::spawn_blocking(move || Condition::compile(&source)).await {
        Ok(Ok(condition)) => condition,
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
