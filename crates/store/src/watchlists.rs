//! Watchlists of tenants: the collection `watchlists`, in SQLite and in MongoDB. They have ids of subjects and no names.
//!
//! They are documents, beside the rules that name them, because the indexer evaluates rules and does not know the accounts' database.
//! So nothing keeps a list and the subjects together but those who change subjects: they call [`WatchlistStore::leave_watchlists`].

mod mongo;
mod sqlite;

use std::collections::BTreeSet;
use std::fmt::Display;

use async_trait::async_trait;
use contracts::{SubjectId, TenantId, WatchlistName};
use uuid::Uuid;

use crate::results::StoreError;

/// A watchlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchlist {
    /// Its name, unique within the tenant.
    pub name: WatchlistName,
    /// Its subjects.
    pub subjects: BTreeSet<SubjectId>,
    /// Another one after every change.
    pub revision: String,
}

/// Which state a watchlist is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchlistRevision {
    /// Owner of the list.
    pub tenant: TenantId,
    /// Name of the list.
    pub name: WatchlistName,
    /// Another one after every change.
    pub revision: String,
}

/// Outcome of storing a watchlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutWatchlistOutcome {
    /// It is stored.
    Stored,
    /// The tenant has as many lists as it may have; nothing was stored.
    Full,
}

/// Outcome of adding a subject to a watchlist, or of removing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchlistMemberOutcome {
    /// The subject is on the list, or not any more.
    Stored,
    /// The tenant has no such list.
    NoList,
    /// The subject is not on the list.
    NotOnList,
    /// The list has as many subjects as it may have.
    Full,
}

/// Watchlists of tenants. Nobody checks here that a subject exists.
#[async_trait]
pub trait WatchlistStore: Send + Sync {
    /// The revisions of all lists of all tenants, for the indexer.
    async fn watchlist_revisions(&self) -> Result<Vec<WatchlistRevision>, StoreError>;

    /// The lists of a tenant, ordered by name.
    async fn watchlists(&self, tenant: &TenantId) -> Result<Vec<Watchlist>, StoreError>;

    /// A list of a tenant.
    async fn watchlist(&self, tenant: &TenantId, name: &WatchlistName) -> Result<Option<Watchlist>, StoreError>;

    /// Replaces the subjects of a list, which is created if it does not exist and the tenant has fewer than `most`.
    async fn put_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subjects: &BTreeSet<SubjectId>,
        most: usize,
    ) -> Result<PutWatchlistOutcome, StoreError>;

    /// Adds a subject to a list of fewer than `most`. A subject that is on it already stays.
    async fn add_to_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subject: SubjectId,
        most: usize,
    ) -> Result<WatchlistMemberOutcome, StoreError>;

    /// Removes a subject from a list.
    async fn remove_from_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subject: SubjectId,
    ) -> Result<WatchlistMemberOutcome, StoreError>;

    /// Deletes a list. Returns whether it existed.
    async fn delete_watchlist(&self, tenant: &TenantId, name: &WatchlistName) -> Result<bool, StoreError>;

    /// Removes a subject from all lists of its tenant; `replaced_by` takes its place on each. Returns the number of lists. A repeat after
    /// a failure changes the rest.
    async fn leave_watchlists(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        replaced_by: Option<SubjectId>,
    ) -> Result<u64, StoreError>;
}

/// A revision that no list has had.
fn new_revision() -> String {
    Uuid::now_v7().to_string()
}

/// The error of a stored list that no program of ours wrote.
fn unreadable(error: &dyn Display) -> StoreError {
    StoreError::Fatal(format!("a stored watchlist cannot be read: {error}"))
}
