//! The storage of a test server.

use std::path::Path;

use accounts::SharedState;
use store::Relational;
use tempfile::TempDir;

/// A folder, and for accounts either files in it or real servers.
pub struct TestStorage {
    folder: TempDir,
    /// URLs of PostgreSQL and Redis, where accounts are not embedded.
    backends: Option<(String, String)>,
}

impl TestStorage {
    /// All data in a new folder.
    pub fn embedded() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), backends: None }
    }

    /// Accounts on PostgreSQL and Redis at these URLs. The database has users of other tests.
    pub fn on_backends(database: &str, redis: &str) -> Self {
        Self { backends: Some((database.to_owned(), redis.to_owned())), ..Self::embedded() }
    }

    /// Whether other tests use the same accounts.
    pub fn is_shared(&self) -> bool {
        self.backends.is_some()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The accounts' database, and the state of rate limits and opaque sessions.
    pub async fn accounts(&self) -> (Relational, SharedState) {
        match &self.backends {
            Some((database, redis)) => {
                (Relational::postgres(database, 8).await.unwrap(), SharedState::redis(redis).unwrap())
            }
            None => {
                let database = Relational::sqlite(self.folder.path().join("accounts.sqlite")).await.unwrap();
                (database, SharedState::in_process())
            }
        }
    }
}

/// URLs of PostgreSQL and Redis from the environment.
pub fn backend_addresses() -> (String, String) {
    let set = |name: &str| std::env::var(name).expect("`make test-real` sets the URLs of the servers");
    (set("SIGHTLINE_TEST_DATABASE_URL"), set("SIGHTLINE_TEST_REDIS_URL"))
}
