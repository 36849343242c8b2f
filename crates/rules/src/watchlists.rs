//! The watchlists of a tenant, for the function `watchlist("name")`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use contracts::WatchlistName;

/// Name of the function.
pub(crate) const WATCHLIST: &str = "watchlist";

/// No lists.
pub static NO_WATCHLISTS: Watchlists = Watchlists(BTreeMap::new());

/// Watchlists by name, each with the ids of its subjects as texts. A list that is missing has nobody.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Watchlists(BTreeMap<WatchlistName, Arc<HashSet<String>>>);

impl Watchlists {
    /// Adds a list.
    pub fn insert(&mut self, name: WatchlistName, subjects: Arc<HashSet<String>>) {
        self.0.insert(name, subjects);
    }

    pub(crate) fn contains(&self, name: &WatchlistName, subject: &str) -> bool {
        self.0.get(name).is_some_and(|subjects| subjects.contains(subject))
    }
}
