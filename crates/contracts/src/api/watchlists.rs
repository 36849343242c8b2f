//! Bodies of the routes of watchlists.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{SubjectId, WatchlistName};

/// The members of a watchlist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWatchlist {
    /// Ids of the subjects, in any order. A repeated id counts once.
    #[schema(max_items = 1000)]
    pub subjects: Vec<SubjectId>,
}

/// A watchlist: subjects that rules look for by the name of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchlistView {
    /// Its name.
    pub name: WatchlistName,
    /// Ids of its subjects, in order.
    pub subjects: Vec<SubjectId>,
}

/// A watchlist in the list of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchlistSummary {
    /// Its name.
    pub name: WatchlistName,
    /// Number of its subjects.
    pub count: u64,
}
