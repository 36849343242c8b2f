//! The storage of a test server.

use std::path::Path;

use accounts::SharedState;
use store::Relational;
use tempfile::TempDir;

/// A folder, and for accounts either files in it or servers.
pub struct TestStorage {
    folder: TempDir,
    /// URL of PostgreSQL, where users are not embedded.
    database: Option<String>,
    /// URL of Redis, where limits and sessions are not embedded.
    redis: Option<String>,
}

impl TestStorage {
    /// All data in a new folder.
    pub fn embedded() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: None, redis: None }
    }

    /// All data in a new folder, except for limits and sessions, which are in the Redis at this URL.
    pub fn with_redis(url: &str) -> Self {
        Self { redis: Some(url.to_owned()), ..Self::embedded() }
    }

    /// Accounts on PostgreSQL and Redis at these URLs. The database has users of other tests.
    pub fn on_backends(database: &str, redis: &str) -> Self {
        Self { database: Some(database.to_owned()), ..Self::with_redis(redis) }
    }

    /// Whether other tests use the same accounts.
    pub fn is_shared(&self) -> bool {
        self.database.is_some()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The accounts' database, and the state of rate limits and opaque sessions.
    pub async fn accounts(&self) -> (Relational, SharedState) {
        let database = match &self.database {
            Some(url) => Relational::postgres(url, 8).await,
            None => Relational::sqlite(self.folder.path().join("accounts.sqlite")).await,
        };
        let shared = self.redis.as_deref().map_or_else(SharedState::in_process, |url| SharedState::redis(url).unwrap());
        (database.unwrap(), shared)
    }
}

/// URLs of PostgreSQL and Redis from the environment.
pub fn backend_addresses() -> (String, String) {
    let set = |name: &str| std::env::var(name).expect("`make test-real` sets the URLs of the servers");
    (set("SIGHTLINE_TEST_DATABASE_URL"), set("SIGHTLINE_TEST_REDIS_URL"))
}
