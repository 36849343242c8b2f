//! Repeats deletions, for what came after them.
//!
//! In: the deletions that are due, by the accounts' database. Out: each of them once more, and the time of its next repeat in the database, or
//! none once nothing can come. After a failure it is tried again a minute later. Several processes may do so at once, because a deletion can be
//! repeated.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use store::{Relational, StoreError};
use tokio::time::MissedTickBehavior;

use crate::Deps;

/// Time between two looks at what is due.
const PAUSE: Duration = Duration::from_secs(30);
/// Time until a repeat is tried again after a failure.
const RETRY: SignedDuration = SignedDuration::from_mins(1);
/// Number of deletions that are read at once.
const BATCH: u32 = 100;
/// Number of deletions that are repeated at the same time, so that one with much data does not hold up the others.
const AT_ONCE: usize = 4;

/// A deletion that is repeated, of one kind.
#[async_trait]
pub trait RepeatedDeletion: Send + Sync + Sized + 'static {
    /// What is deleted, in the log output.
    const WHAT: &'static str;

    /// Deletions that are due, at most `limit`.
    async fn due(database: &Relational, now: Timestamp, limit: u32) -> Result<Vec<Self>, StoreError>;

    /// Deletes what came since.
    async fn repeat(&self, deps: &Deps) -> Result<(), StoreError>;

    /// When it is due after `now`; `None` once nothing can come.
    fn next(&self, deps: &Deps, now: Timestamp) -> Option<Timestamp>;

    /// Stores when it is due.
    async fn set_next(&self, database: &Relational, next: Option<Timestamp>) -> Result<(), StoreError>;
}

/// Repeats the deletions of one kind that are due, without end.
pub async fn repeat_deletions<D: RepeatedDeletion>(deps: &Deps) {
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = repeat_due::<D>(deps).await {
            tracing::warn!(%error, what = D::WHAT, "deletions that are to be repeated cannot be looked up; they are repeated later");
        }
    }
}

async fn repeat_due<D: RepeatedDeletion>(deps: &Deps) -> Result<(), StoreError> {
    // Those that are due at the start: each gets a later time, so the loop ends.
    let start = Timestamp::now();
    loop {
        let due = D::due(&deps.database, start, BATCH).await?;
        if due.is_empty() {
            return Ok(());
        }
        let is_last = due.len() < BATCH as usize;
        futures::stream::iter(due.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |deletion| repeat_one::<D>(deps, deletion))
            .await?;
        // A reader may have held that up at the deletion.
        deps.database.empty_journal().await;
        if is_last {
            return Ok(());
        }
    }
}

async fn repeat_one<D: RepeatedDeletion>(deps: &Deps, deletion: D) -> Result<(), StoreError> {
    // Before the search, so that what is stored during the last one is searched for again.
    let now = Timestamp::now();
    let next = match deletion.repeat(deps).await {
        Ok(()) => deletion.next(deps, now),
        Err(error) => {
            tracing::warn!(%error, what = D::WHAT, "what came after a deletion could not be deleted; retrying in a minute");
            Some(now.checked_add(RETRY).unwrap_or(now))
        }
    };
    deletion.set_next(&deps.database, next).await
}
