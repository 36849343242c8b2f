//! What was taken back, as every instance hears of it: read from the store every half a second, by number.
//!
//! Anything that is kept in memory carries the number up to which this had been read before it was loaded. A later number
//! about the same subject means that what is kept is old. So nothing is forgotten between loading and keeping.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use jiff::Timestamp;
use store::relational::{Revocation, RevocationKind};
use store::{Relational, StoreError};
use tokio::time::Instant;
use uuid::Uuid;

use crate::AccessError;
use crate::keyring::Keyring;

/// What was taken back.
#[derive(Default)]
pub(crate) struct Feed {
    state: RwLock<State>,
    /// Held by the one that reads. Of two at once, the slower one would put older numbers in place of newer ones.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The last number that was read.
    read: i64,
    /// When the store was last asked and answered.
    asked_at: Option<Instant>,
    /// The last number about each subject, and until when it matters.
    last: HashMap<(RevocationKind, Uuid), (i64, Timestamp)>,
}

impl Feed {
    /// Reads on from where it was, and the keys when they changed.
    pub(crate) async fn catch_up(&self, store: &Relational, keys: &Keyring, now: Timestamp) -> Result<(), StoreError> {
        let _one = self.reading.lock().await;
        let asked_at = Instant::now();
        let last = store.last_revocation().await?;
        if last < self.read() {
            // The database was put back to an earlier state: its numbers begin anew from there, and so do its keys.
            *self.write() = State::default();
            keys.replace(&store.signing_keys().await?).map_err(StoreError::Fatal)?;
        }
        while self.read() < last {
            let page = store.revocations_after(self.read()).await?;
            if page.iter().any(|revocation| revocation.kind == RevocationKind::SigningKeys) {
                keys.replace(&store.signing_keys().await?).map_err(StoreError::Fatal)?;
            }
            let is_all = page.is_empty();
            let mut state = self.write();
            state.take(&page, now);
            if is_all {
                // What is left was past its time and swept.
                state.read = last;
            }
        }
        self.write().asked_at = Some(asked_at);
        Ok(())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last number that was read.
    pub(crate) fn read(&self) -> i64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).read
    }

    /// Whether something about a subject is newer than a number.
    pub(crate) fn has_since(&self, kind: RevocationKind, subject: Uuid, number: i64) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.last.get(&(kind, subject)).is_some_and(|(last, _)| *last > number)
    }

    /// Succeeds when the store has been asked lately; otherwise nobody can tell what was taken back since.
    pub(crate) fn check(&self, closed_after: Duration) -> Result<(), AccessError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.asked_at.is_some_and(|asked_at| asked_at.elapsed() < closed_after) {
            return Ok(());
        }
        Err(AccessError::Unavailable("which credentials were taken back cannot be found out now".to_owned()))
    }
}

impl State {
    fn take(&mut self, page: &[Revocation], now: Timestamp) {
        if page.is_empty() {
            return;
        }
        self.last.retain(|_, (_, expires_at)| *expires_at > now);
        for Revocation { sequence, kind, subject, expires_at } in page {
            self.last.insert((*kind, *subject), (*sequence, *expires_at));
            self.read = *sequence;
        }
    }
}
