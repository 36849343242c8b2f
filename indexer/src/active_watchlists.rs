//! The watchlists that active rules name.
//!
//! In: the names. Out: the lists, as they are in the store now. A list is read again only if it has changed: the revisions of all lists
//! are small, and the lists are not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use contracts::{TenantId, WatchlistName};
use rules::Watchlists;
use store::{StoreError, Watchlist, WatchlistRevision, WatchlistStore};
use tokio::sync::Mutex;

/// A watchlist of a tenant.
pub type ListKey = (TenantId, WatchlistName);

/// A list as it was read: its revision, and the ids of its subjects.
type KnownList = (String, Arc<HashSet<String>>);

/// Reads watchlists, and remembers them.
pub struct ActiveWatchlists {
    store: Arc<dyn WatchlistStore>,
    known: Mutex<HashMap<ListKey, KnownList>>,
}

impl ActiveWatchlists {
    /// Nothing is read yet.
    pub fn new(store: Arc<dyn WatchlistStore>) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// These lists. One that does not exist is left out. Without names nothing is read.
    pub async fn read(&self, named: HashSet<ListKey>) -> Result<HashMap<TenantId, Watchlists>, StoreError> {
        let mut known = self.known.lock().await;
        let current = if named.is_empty() { HashMap::new() } else { self.current(&named, &known).await? };
        let mut lists: HashMap<TenantId, Watchlists> = HashMap::new();
        for ((tenant, name), (_, subjects)) in &current {
            lists.entry(tenant.clone()).or_default().insert(name.clone(), Arc::clone(subjects));
        }
        *known = current;
        Ok(lists)
    }

    async fn current(
        &self,
        named: &HashSet<ListKey>,
        known: &HashMap<ListKey, KnownList>,
    ) -> Result<HashMap<ListKey, KnownList>, StoreError> {
        let mut current = HashMap::new();
        for WatchlistRevision { tenant, name, revision } in self.store.watchlist_revisions().await? {
            let key = (tenant, name);
            if !named.contains(&key) {
                continue;
            }
            let list = match known.get(&key) {
                Some(list) if list.0 == revision => Some(list.clone()),
                _ => self.store.watchlist(&key.0, &key.1).await?.map(known_list),
            };
            // It may have been deleted since.
            if let Some(list) = list {
                current.insert(key, list);
            }
        }
        Ok(current)
    }
}

fn known_list(list: Watchlist) -> KnownList {
    let Watchlist { subjects, revision, .. } = list;
    (revision, Arc::new(subjects.iter().map(ToString::to_string).collect()))
}
