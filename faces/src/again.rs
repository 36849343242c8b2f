//! Deleting again what comes after a deletion, for each kind of thing that is deleted.
//!
//! In: what is due, by the accounts' database. Out: the same deletion once more, and a later time in the database, or none once nothing can
//! come. After a failure it is tried again a minute later. Several processes may do so at once, because a deletion can be repeated.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use store::{Relational, StoreError};
use tokio::time::MissedTickBehavior;

use crate::Deps;

/// Time between two looks at what is due.
const PAUSE: Duration = Duration::from_secs(30);
/// Time until a deletion is tried again after a failure.
const RETRY: SignedDuration = SignedDuration::from_mins(1);
/// Number of those that are read at once.
const BATCH: u32 = 100;
/// Number of those that are deleted at the same time, so that one with much data does not hold up the others.
const AT_ONCE: usize = 4;

/// Something that was deleted, and is deleted again.
#[async_trait]
pub trait Again: Send + Sync + Sized + 'static {
    /// Its name in the log output.
    const WHAT: &'static str;

    /// Those that are due, at most `limit`.
    async fn due(database: &Relational, now: Timestamp, limit: u32) -> Result<Vec<Self>, StoreError>;

    /// Deletes what came since.
    async fn delete(&self, deps: &Deps) -> Result<(), StoreError>;

    /// When it is due after `now`.
    fn next(&self, deps: &Deps, now: Timestamp) -> Option<Timestamp>;

    /// Stores when it is due.
    async fn set_next(&self, database: &Relational, next: Option<Timestamp>) -> Result<(), StoreError>;
}

/// Deletes again what is due, without end.
pub async fn delete_again_regularly<D: Again>(deps: &Deps) {
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = delete_due::<D>(deps).await {
            tracing::warn!(%error, what = D::WHAT, "what is to be deleted again cannot be looked up; it is done later");
        }
    }
}

async fn delete_due<D: Again>(deps: &Deps) -> Result<(), StoreError> {
    // Those that are due at the start: each gets a later time, so the loop ends.
    let start = Timestamp::now();
    loop {
        let due = D::due(&deps.database, start, BATCH).await?;
        let is_last = due.len() < BATCH as usize;
        futures::stream::iter(due.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |deleted| delete_one::<D>(deps, deleted))
            .await?;
        if is_last {
            return Ok(());
        }
    }
}

async fn delete_one<D: Again>(deps: &Deps, deleted: D) -> Result<(), StoreError> {
    // Before the search, so that what is stored during the last one is searched for again.
    let now = Timestamp::now();
    let next = match deleted.delete(deps).await {
        Ok(()) => deleted.next(deps, now),
        Err(error) => {
            tracing::warn!(%error, what = D::WHAT, "what came after a deletion could not be deleted; retrying in a minute");
            Some(now.checked_add(RETRY).unwrap_or(now))
        }
    };
    deleted.set_next(&deps.database, next).await
}
