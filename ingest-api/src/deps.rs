//! The dependencies of the service.

use std::sync::Arc;

use accounts::{Accounts, AccountsService};
use api_kit::describe::Routes;
use bus::Bus;
use platform::Health;
use platform::traces::Traces;
use store::{Blobs, Documents, FilesInUse, Relational};

/// Dependencies of the service.
#[derive(Clone)]
pub struct Deps {
    /// The message bus.
    pub bus: Arc<dyn Bus>,
    /// Results, detections, alerts, rules and streams.
    pub documents: Arc<dyn Documents>,
    /// Images.
    pub blobs: Arc<dyn Blobs>,
    /// Authenticates callers and counts their requests.
    pub accounts: Arc<dyn Accounts>,
    /// The users, for the routes about accounts. Whoever opens it also runs its background tasks.
    pub accounts_service: Arc<AccountsService>,
    /// The names of subjects, in the accounts' database.
    pub subjects: Relational,
    /// Files of embedded parts in this process; while one is not at its path, changes are refused.
    pub files_in_use: FilesInUse,
    /// Health checks of the other services in this process; `/readyz` includes them.
    pub other_services: Health,
    /// Routes of other services in this process, which the public port serves too.
    pub other_routes: Routes<()>,
    /// Starts the spans of the service.
    pub traces: Traces,
}
