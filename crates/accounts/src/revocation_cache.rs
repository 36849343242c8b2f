//! Revocations, read from the store every half second and kept in memory.
//!
//! Revocations are numbered. Every value that is cached elsewhere has the last number that was read
//! before the value was loaded. A revocation of the same subject with a higher number makes it
//! stale. So no revocation is missed between loading and caching.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use jiff::Timestamp;
use store::relational::{Revocation, RevocationKind};
use store::{Relational, StoreError};
use tokio::time::Instant;
use uuid::Uuid;

use crate::AccessError;
use crate::verifying_keys::VerifyingKeyring;

/// The revocations of credentials that have not expired.
#[derive(Default)]
pub(crate) struct RevocationCache {
    state: RwLock<State>,
    /// Held during a read of the store. Of two concurrent reads, the slower one would overwrite newer numbers with older ones.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The last number that was read.
    last_read: i64,
    /// Start of the last read that succeeded.
    refreshed_at: Option<Instant>,
    /// For each subject, its last number and the time at which all revoked credentials have expired.
    revoked: HashMap<(RevocationKind, Uuid), (i64, Timestamp)>,
}

impl RevocationCache {
    /// Reads the revocations after the last one that was read, and the public keys when they changed.
    pub(crate) async fn refresh(
        &self,
        store: &Relational,
        keys: &VerifyingKeyring,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        let started = Instant::now();
        let last = store.last_revocation().await?;
        if last < self.last_read() {
            // The database was restored to an earlier state: its numbers continue from there, and its keys are older too.
            *self.write() = State::default();
            keys.replace(store.verifying_keys().await?).map_err(StoreError::Fatal)?;
        }
        while self.last_read() < last {
            let page = store.revocations_after(self.last_read()).await?;
            if page.iter().any(|revocation| revocation.kind == RevocationKind::SigningKeys) {
                keys.replace(store.verifying_keys().await?).map_err(StoreError::Fatal)?;
            }
            let mut state = self.write();
            state.add(&page, now);
            if page.is_empty() {
                // The missing ones expired and were deleted.
                state.last_read = last;
            }
        }
        self.write().refreshed_at = Some(started);
        Ok(())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last number that was read.
    pub(crate) fn last_read(&self) -> i64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).last_read
    }

    /// Whether a revocation of a subject has a higher number than `revocation_sequence`.
    pub(crate) fn has_since(&self, kind: RevocationKind, subject: Uuid, revocation_sequence: i64) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.revoked.get(&(kind, subject)).is_some_and(|(last, _)| *last > revocation_sequence)
    }

    /// Succeeds when the store was read within `stale_after`. Otherwise an unknown revocation may exist.
    pub(crate) fn check_fresh(&self, stale_after: Duration) -> Result<(), AccessError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.refreshed_at.is_some_and(|refreshed_at| refreshed_at.elapsed() < stale_after) {
            return Ok(());
        }
        Err(AccessError::Unavailable("revoked credentials cannot be read now".to_owned()))
    }
}

impl State {
    fn add(&mut self, page: &[Revocation], now: Timestamp) {
        if page.is_empty() {
            return;
        }
        self.revoked.retain(|_, (_, expires_at)| *expires_at > now);
        for Revocation { sequence, kind, subject, expires_at } in page {
            self.revoked.insert((*kind, *subject), (*sequence, *expires_at));
            self.last_read = *sequence;
        }
    }
}
