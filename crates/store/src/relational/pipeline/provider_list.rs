//! Which providers the workers have, and trials of them that admins request. Each running worker reports its providers here. Other services have
//! neither the operator's file nor the keys, so they request a trial from the workers.

use contracts::{MediaStep, whole_microseconds};
use jiff::{SignedDuration, Timestamp};

use super::step;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::{Row, values};

/// How long a worker has a trial that it has taken.
const TRIAL: SignedDuration = SignedDuration::from_secs(120);
/// How long a request for a trial is valid.
const WANTED: SignedDuration = SignedDuration::from_secs(120);
/// How long a provider stays in the list after the last report of a worker.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Maximum number of providers of a task.
const MAX_LISTED: i64 = 200;

/// A provider as a worker reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewListedProvider<'a> {
    /// What it does: [`MediaStep::Transcribe`] or [`MediaStep::Summarise`].
    pub task: MediaStep,
    /// Its name.
    pub name: &'a str,
    /// Its group.
    pub group: &'a str,
    /// Its kind, such as `openai`.
    pub kind: &'a str,
    /// Its model.
    pub model: Option<&'a str>,
    /// Where its server is, without a path and a key.
    pub host: Option<&'a str>,
    /// Its place in the file.
    pub place: u32,
    /// Why it does not work in this worker.
    pub missing: Option<&'a str>,
}

/// A provider that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProvider {
    /// What it does.
    pub task: MediaStep,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its model.
    pub model: Option<String>,
    /// Where its server is.
    pub host: Option<String>,
    /// Why it does not work in the worker that reported it last.
    pub missing: Option<String>,
    /// How the last trial ended.
    pub trial: Option<ProviderTrial>,
}

/// How a trial of a provider ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderTrial {
    /// When.
    pub at: Timestamp,
    /// Whether it works.
    pub works: bool,
    /// What it answered, or why it does not work.
    pub answer: String,
}

const LISTED: &str = "SELECT task, name, provider_group, kind, model, host, missing, tried_at, works, answer FROM provider_list \
                      WHERE task = $1 AND seen_at >= $2 ORDER BY place, name LIMIT $3";
const REPORT: &str = "INSERT INTO provider_list (task, name, provider_group, kind, model, host, place, missing, seen_at) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (task, name) DO UPDATE SET \
                    provider_group = excluded.provider_group, kind = excluded.kind, model = excluded.model, \
                    host = excluded.host, place = excluded.place, missing = excluded.missing, seen_at = excluded.seen_at";

impl ListedProvider {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let tried: (Option<Timestamp>, Option<bool>) = (row.get("tried_at")?, row.get("works")?);
        let answer: Option<String> = row.get("answer")?;
        let trial = match tried {
            (Some(at), Some(works)) => Some(ProviderTrial { at, works, answer: answer.unwrap_or_default() }),
            _ => None,
        };
        Ok(Self {
            task: step(row, "task")?,
            name: row.get("name")?,
            group: row.get("provider_group")?,
            kind: row.get("kind")?,
            model: row.get("model")?,
            host: row.get("host")?,
            missing: row.get("missing")?,
            trial,
        })
    }
}

impl Relational {
    /// Records the providers of a worker. Providers that no worker has reported for a week are deleted.
    pub async fn put_provider_list(
        &self,
        providers: &[NewListedProvider<'_>],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let now = whole_microseconds(now);
        let mut transaction = self.begin().await?;
        for provider in providers {
            let NewListedProvider { task, name, group, kind, model, host, place, missing } = *provider;
            let row = values![task.as_str(), name, group, kind, model, host, i64::from(place), missing, now];
            transaction.execute(REPORT, row).await?;
        }
        let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        transaction.execute("DELETE FROM provider_list WHERE seen_at < $1", values![before]).await?;
        transaction.commit().await
    }

    /// The providers of a task that a worker has reported since then, in the order of the file.
    pub async fn listed_providers(&self, task: MediaStep, since: Timestamp) -> Result<Vec<ListedProvider>, StoreError> {
        let rows = self.rows(LISTED, values![task.as_str(), whole_microseconds(since), MAX_LISTED]).await?;
        rows.iter().map(ListedProvider::read).collect()
    }

    /// Requests a trial of a provider from the workers. `false` if no worker has reported it.
    pub async fn want_trial(&self, task: MediaStep, name: &str, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE provider_list SET wanted_at = $3, trial_until = NULL WHERE task = $1 AND name = $2";
        Ok(self.execute(sql, values![task.as_str(), name, whole_microseconds(now)]).await? == 1)
    }

    /// Takes one of the requested trials. `names` are the providers of the caller.
    pub async fn take_trial(
        &self,
        names: &[(MediaStep, &str)],
        now: Timestamp,
    ) -> Result<Option<(MediaStep, String)>, StoreError> {
        let now = whole_microseconds(now);
        let oldest = now.checked_sub(WANTED).unwrap_or(Timestamp::MIN);
        let until = now.checked_add(TRIAL).unwrap_or(Timestamp::MAX);
        let sql = "SELECT task, name FROM provider_list WHERE wanted_at >= $1 \
                   AND (trial_until IS NULL OR trial_until <= $2) ORDER BY wanted_at LIMIT $3";
        for row in self.rows(sql, values![oldest, now, MAX_LISTED]).await? {
            let (task, name) = (step(&row, "task")?, row.get::<String>("name")?);
            if !names.contains(&(task, name.as_str())) {
                continue;
            }
            let take = "UPDATE provider_list SET trial_until = $3 WHERE task = $1 AND name = $2 AND wanted_at IS NOT NULL \
                        AND (trial_until IS NULL OR trial_until <= $4)";
            let arguments = values![task.as_str(), &name, until, now];
            if self.execute(take, arguments).await? == 1 {
                return Ok(Some((task, name)));
            }
        }
        Ok(None)
    }

    /// Records how a trial ended.
    pub async fn end_trial(&self, task: MediaStep, name: &str, trial: &ProviderTrial) -> Result<(), StoreError> {
        let ProviderTrial { at, works, answer } = trial;
        let sql = "UPDATE provider_list SET wanted_at = NULL, trial_until = NULL, tried_at = $3, works = $4, answer = $5 \
                   WHERE task = $1 AND name = $2";
        let arguments = values![task.as_str(), name, whole_microseconds(*at), *works, answer];
        self.execute(sql, arguments).await.map(drop)
    }
}
