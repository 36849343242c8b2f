//! States of providers: their order, whether an admin or a refused key has turned them off, and their cooldowns. `media` decides what follows from
//! the end of a call.

use contracts::{MediaStep, whole_microseconds};
use jiff::Timestamp;

use super::{optional_small, small, step};
use crate::StoreError;
use crate::relational::audit::AuditEntry;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// Maximum number of states of a task: providers that the file no longer has keep theirs.
const MAX_STATES: i64 = 500;

/// State of a provider of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderStateRecord {
    /// What it does: [`MediaStep::Transcribe`] or [`MediaStep::Summarise`].
    pub task: MediaStep,
    /// Its name in the file.
    pub name: String,
    /// The place that an admin gave it; `None`: as in the file.
    pub position: Option<u32>,
    /// Whether it is enabled; an admin's choice.
    pub enabled: bool,
    /// The configuration with which it refused its key. It is off until it has another one.
    pub off_config: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Cooldowns in a row.
    pub cooldowns: u32,
    /// It is not called before.
    pub cools_until: Option<Timestamp>,
    /// The code of the last failure.
    pub cause: Option<String>,
    /// What that is about.
    pub detail: Option<String>,
    /// One caller probes it after a cooldown, until this time.
    pub probing_until: Option<Timestamp>,
    /// One more with each change; 0: it is not stored.
    pub revision: i64,
    /// When it was changed.
    pub updated_at: Timestamp,
}

const STATES: &str = "SELECT task, name, position, enabled, off_config, failures, cooldowns, cools_until, cause, \
                               detail, probing_until, revision, updated_at FROM provider_states WHERE task = $1 \
                               ORDER BY name LIMIT $2";
/// Makes a row for a provider that has none.
const ADD: &str = "INSERT INTO provider_states (task, name, enabled, failures, cooldowns, revision, updated_at) \
                   VALUES ($1, $2, $3, 0, 0, 1, $4) ON CONFLICT DO NOTHING";

impl ProviderStateRecord {
    /// A provider without a stored state.
    pub fn new(task: MediaStep, name: &str) -> Self {
        Self {
            task,
            name: name.to_owned(),
            position: None,
            enabled: true,
            off_config: None,
            failures: 0,
            cooldowns: 0,
            cools_until: None,
            cause: None,
            detail: None,
            probing_until: None,
            revision: 0,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            task: step(row, "task")?,
            name: row.get("name")?,
            position: optional_small(row, "position")?,
            enabled: row.get("enabled")?,
            off_config: row.get("off_config")?,
            failures: small(row, "failures")?,
            cooldowns: small(row, "cooldowns")?,
            cools_until: row.get("cools_until")?,
            cause: row.get("cause")?,
            detail: row.get("detail")?,
            probing_until: row.get("probing_until")?,
            revision: row.get("revision")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

impl Relational {
    /// The known states of the providers of a task.
    pub async fn provider_states(&self, task: MediaStep) -> Result<Vec<ProviderStateRecord>, StoreError> {
        let rows = self.rows(STATES, values![task.as_str(), MAX_STATES]).await?;
        rows.iter().map(ProviderStateRecord::read).collect()
    }

    /// Stores what followed from a call: everything but order and `enabled`, which are an admin's. `false` if the provider has another revision
    /// than the record.
    pub async fn put_provider_state(&self, state: &ProviderStateRecord, now: Timestamp) -> Result<bool, StoreError> {
        let ProviderStateRecord { task, name, off_config, failures, cooldowns, cools_until, .. } = state;
        let ProviderStateRecord { cause, detail, probing_until, revision, .. } = state;
        let now = whole_microseconds(now);
        let mut transaction = self.begin().await?;
        let mut seen = *revision;
        if seen == 0 {
            if transaction.execute(ADD, values![task.as_str(), name, true, now]).await? == 0 {
                return Ok(false);
            }
            seen = 1;
        }
        let sql = "UPDATE provider_states SET off_config = $3, failures = $4, cooldowns = $5, cools_until = $6, cause = $7, \
                   detail = $8, probing_until = $9, revision = revision + 1, updated_at = $10 \
                   WHERE task = $1 AND name = $2 AND revision = $11";
        let row = values![
            task.as_str(),
            name,
            off_config,
            i64::from(*failures),
            i64::from(*cooldowns),
            cools_until.map(whole_microseconds),
            cause,
            detail,
            probing_until.map(whole_microseconds),
            now,
            seen,
        ];
        let stored = transaction.execute(sql, row).await? == 1;
        transaction.commit().await?;
        Ok(stored)
    }

    /// Reserves the probe of a provider whose cooldown is over for one caller, until a time. `false` if it still cools, or another caller probes it.
    pub async fn claim_probe(
        &self,
        task: MediaStep,
        name: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE provider_states SET probing_until = $4, revision = revision + 1, updated_at = $3 \
                   WHERE task = $1 AND name = $2 AND cools_until <= $3 AND (probing_until IS NULL OR probing_until <= $3)";
        let (now, until) = (whole_microseconds(now), whole_microseconds(until));
        Ok(self.execute(sql, values![task.as_str(), name, now, until]).await? == 1)
    }

    /// Gives back the probe of a provider that was claimed and not made.
    pub async fn give_back_probe(&self, task: MediaStep, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE provider_states SET probing_until = NULL, revision = revision + 1, updated_at = $3 \
                   WHERE task = $1 AND name = $2 AND probing_until IS NOT NULL";
        self.execute(sql, values![task.as_str(), name, whole_microseconds(now)]).await.map(drop)
    }

    /// Gives the providers of a task this order. Those that are not named come after them, in the order of the file.
    pub async fn set_provider_order(
        &self,
        task: MediaStep,
        names: &[String],
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let now = whole_microseconds(now);
        let mut transaction = self.begin().await?;
        let sql = "UPDATE provider_states SET position = NULL, revision = revision + 1, updated_at = $2 \
                   WHERE task = $1 AND position IS NOT NULL";
        transaction.execute(sql, values![task.as_str(), now]).await?;
        for (position, name) in (0_i64..).zip(names) {
            transaction.add_provider(task, name, now).await?;
            let sql = "UPDATE provider_states SET position = $3, revision = revision + 1, updated_at = $4 \
                       WHERE task = $1 AND name = $2";
            transaction.execute(sql, values![task.as_str(), name, position, now]).await?;
        }
        transaction.add_audit_entry(audit).await?;
        transaction.commit().await
    }

    /// Enables or disables a provider. Enabling clears its failures, its cooldown and a refused key.
    pub async fn set_provider_enabled(
        &self,
        task: MediaStep,
        name: &str,
        enabled: bool,
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let now = whole_microseconds(now);
        let mut transaction = self.begin().await?;
        transaction.add_provider(task, name, now).await?;
        let sql = if enabled {
            "UPDATE provider_states SET enabled = $3, off_config = NULL, failures = 0, cooldowns = 0, cools_until = NULL, \
             cause = NULL, detail = NULL, probing_until = NULL, revision = revision + 1, updated_at = $4 \
             WHERE task = $1 AND name = $2"
        } else {
            "UPDATE provider_states SET enabled = $3, revision = revision + 1, updated_at = $4 WHERE task = $1 AND name = $2"
        };
        transaction.execute(sql, values![task.as_str(), name, enabled, now]).await?;
        transaction.add_audit_entry(audit).await?;
        transaction.commit().await
    }
}

impl Transaction {
    async fn add_provider(&mut self, task: MediaStep, name: &str, now: Timestamp) -> Result<(), StoreError> {
        self.execute(ADD, values![task.as_str(), name, true, now]).await.map(drop)
    }
}
