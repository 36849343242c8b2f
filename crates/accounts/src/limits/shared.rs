//! Rate limits that all instances share through Redis. While Redis does not answer, each instance counts for itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use tokio::time::Instant;

use super::{LocalLimits, Rate, RateLimitDecision, RateLimits};

/// Time limit of one call of Redis; then this instance counts for itself.
const REDIS_TIMEOUT: Duration = Duration::from_millis(100);
/// Rate of the key that [`RateLimits::check`] counts under. The decision does not matter.
const CHECK_RATE: Rate = Rate::new(Duration::from_secs(1), 1);
/// Pause after a failed call of Redis.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The algorithm of `Rate::take` by the clock of Redis, so that the instances' clocks do not matter. Microseconds are exact in
/// Lua's numbers until the year 2255.
const TAKE: &str = "
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, ahead = tonumber(ARGV[1]), tonumber(ARGV[2])
local busy = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) - now, 0)
local next = busy + interval
if next > ahead then
  return {0, next - ahead, busy}
end
redis.call('SET', KEYS[1], string.format('%.0f', now + next), 'PX', math.max(math.ceil(next / 1000), 1))
return {1, 0, next}
";

/// Rate limits in Redis, which all instances share.
pub struct RedisLimits {
    connection: ConnectionManager,
    take: Script,
    /// Counts while Redis does not answer.
    fallback: LocalLimits,
    /// End of the pause after a failed call.
    failed_until: Mutex<Option<Instant>>,
}

impl RedisLimits {
    /// Uses the Redis at this address. It need not be reachable yet.
    ///
    /// # Errors
    /// The address is not a Redis address.
    pub fn new(url: &str) -> Result<Self, String> {
        Ok(Self {
            connection: connect(url)?,
            take: Script::new(TAKE),
            fallback: LocalLimits::default(),
            failed_until: Mutex::default(),
        })
    }

    async fn take_in_redis(&self, key: &str, rate: Rate) -> Result<RateLimitDecision, RedisError> {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let mut invocation = self.take.key(format!("sightline:limit:{key}"));
        invocation.arg(micros(rate.interval)).arg(micros(rate.ahead()));
        let (allowed, retry_after, busy): (u8, u64, u64) =
            invocation.invoke_async(&mut self.connection.clone()).await?;
        let busy = Duration::from_micros(busy);
        Ok(if allowed == 1 { rate.allowed(busy) } else { rate.refused(Duration::from_micros(retry_after), busy) })
    }

    async fn take_in_time(&self, key: &str, rate: Rate) -> Result<RateLimitDecision, String> {
        match tokio::time::timeout(REDIS_TIMEOUT, self.take_in_redis(key, rate)).await {
            Ok(taken) => taken.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no response within {REDIS_TIMEOUT:?}")),
        }
    }

    fn is_paused(&self) -> bool {
        let failed_until = self.failed_until.lock().unwrap_or_else(PoisonError::into_inner);
        failed_until.is_some_and(|until| Instant::now() < until)
    }

    /// Records the result of a call. Logs every change once.
    fn record(&self, result: Result<(), &str>) {
        let mut failed_until = self.failed_until.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                if failed_until.take().is_some() {
                    tracing::info!("Redis answers again: all instances share their limits");
                }
            }
            Err(error) => {
                if failed_until.replace(Instant::now() + RETRY_AFTER).is_none() {
                    tracing::warn!(
                        error,
                        "Redis is unreachable: until it answers again, each instance counts requests for itself"
                    );
                }
            }
        }
    }
}

#[async_trait]
impl RateLimits for RedisLimits {
    async fn take(&self, key: &str, rate: Rate) -> RateLimitDecision {
        if self.is_paused() {
            return self.fallback.take_now(key, rate);
        }
        let taken = self.take_in_time(key, rate).await;
        self.record(taken.as_ref().map(drop).map_err(String::as_str));
        taken.unwrap_or_else(|_| self.fallback.take_now(key, rate))
    }

    fn is_shared(&self) -> bool {
        true
    }

    /// Counts like a request, because a Redis that answers PING may still refuse to write, such as a full one or a replica.
    async fn check(&self) -> Result<(), String> {
        self.take_in_time("check", CHECK_RATE).await.map(drop)
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
