//! A connection to Redis whose calls do not hold up a request: each has a time limit, and after a failed one there is a pause.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError};
use tokio::time::Instant;

/// Pause after a failed call of Redis.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A connection, and whether its last call failed.
pub(crate) struct RedisLink {
    connection: ConnectionManager,
    /// What happens without Redis, for the log.
    without: &'static str,
    /// End of the pause after a failed call.
    failed_until: Mutex<Option<Instant>>,
}

impl RedisLink {
    /// Uses the Redis at this address. It need not be reachable yet.
    pub(crate) fn new(url: &str, without: &'static str) -> Result<Self, String> {
        Ok(Self { connection: connect(url)?, without, failed_until: Mutex::default() })
    }

    /// A connection for one call.
    pub(crate) fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    /// Whether a call failed a moment ago.
    pub(crate) fn is_paused(&self) -> bool {
        let failed_until = self.failed_until.lock().unwrap_or_else(PoisonError::into_inner);
        failed_until.is_some_and(|until| Instant::now() < until)
    }

    /// Runs a call, and notes whether it failed.
    pub(crate) async fn call<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, String> {
        let result = within(limit, call).await;
        self.record(result.as_ref().map(drop).map_err(String::as_str));
        result
    }

    /// Records the result of a call. Logs every change once.
    fn record(&self, result: Result<(), &str>) {
        let mut failed_until = self.failed_until.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                if failed_until.take().is_some() {
                    tracing::info!("Redis answers again: no longer {}", self.without);
                }
            }
            Err(error) => {
                if failed_until.replace(Instant::now() + RETRY_AFTER).is_none() {
                    tracing::warn!(error, "Redis is unreachable: until it answers again, {}", self.without);
                }
            }
        }
    }
}

/// Runs a call of Redis within a time limit.
pub(crate) async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no response within {limit:?}")),
    }
}

/// A connection that opens on first use and reconnects after a failure.
pub(crate) fn connect(url: &str) -> Result<ConnectionManager, String> {
    // The cause may quote the address, which contains the password.
    let client = Client::open(url).map_err(|_| {
        "SIGHTLINE_REDIS_URL is not an address of Redis; it must have the form redis://user:password@host:6379"
            .to_owned()
    })?;
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(1)));
    ConnectionManager::new_lazy_with_config(client, config)
        .map_err(|error| format!("SIGHTLINE_REDIS_URL: {}", error.category()))
}
