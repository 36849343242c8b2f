//! Limits that all instances share through Redis; while it is away, each instance has its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use tokio::time::Instant;

use super::{Decision, LocalLimits, Rate, RateLimits};

/// How long a request waits for Redis before it goes by this instance's own count.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long Redis is left alone after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The algorithm of `Rate::take` by Redis's own clock, so that instances need not agree about the time. Microseconds stay
/// exact in Lua's numbers until the year 2255.
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

/// Limits that all instances share.
pub struct RedisLimits {
    connection: ConnectionManager,
    take: Script,
    own: LocalLimits,
    /// Until when Redis is left alone.
    away: Mutex<Option<Instant>>,
}

impl RedisLimits {
    /// Uses the Redis at this address, whether or not it is there yet.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(url: &str) -> Result<Self, String> {
        Ok(Self {
            connection: connect(url)?,
            take: Script::new(TAKE),
            own: LocalLimits::default(),
            away: Mutex::default(),
        })
    }

    async fn ask(&self, key: &str, rate: Rate) -> Result<Decision, RedisError> {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let mut invocation = self.take.key(format!("sightline:limit:{key}"));
        invocation.arg(micros(rate.interval)).arg(micros(rate.ahead()));
        let (allowed, retry_after, busy): (u8, u64, u64) =
            invocation.invoke_async(&mut self.connection.clone()).await?;
        let busy = Duration::from_micros(busy);
        Ok(if allowed == 1 { rate.allowed(busy) } else { rate.refused(Duration::from_micros(retry_after), busy) })
    }

    fn is_left_alone(&self) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|until| Instant::now() < until)
    }

    /// Notes whether Redis answered; says so once whenever that changes.
    fn note(&self, answered: Result<(), &str>) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Ok(()) => {
                if away.take().is_some() {
                    tracing::info!("Redis is back: limits are shared by all instances again");
                }
            }
            Err(error) => {
                if away.replace(Instant::now() + PAUSE).is_none() {
                    tracing::warn!(
                        error,
                        "Redis is away: until it is back, each instance limits requests by its own count"
                    );
                }
            }
        }
    }
}

#[async_trait]
impl RateLimits for RedisLimits {
    async fn take(&self, key: &str, rate: Rate) -> Decision {
        if self.is_left_alone() {
            return self.own.take_now(key, rate);
        }
        match tokio::time::timeout(PATIENCE, self.ask(key, rate)).await {
            Ok(Ok(decision)) => {
                self.note(Ok(()));
                decision
            }
            Ok(Err(error)) => {
                self.note(Err(&error.to_string()));
                self.own.take_now(key, rate)
            }
            Err(_) => {
                self.note(Err("no answer in time"));
                self.own.take_now(key, rate)
            }
        }
    }
}

/// A connection that is made when it is needed and made anew when it breaks.
pub(crate) fn connect(url: &str) -> Result<ConnectionManager, String> {
    // The cause might quote the address, and with it the password.
    let client = Client::open(url).map_err(|_| {
        "SIGHTLINE_REDIS_URL is no address of Redis; it reads redis://user:password@host:6379".to_owned()
    })?;
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(1)));
    ConnectionManager::new_lazy_with_config(client, config)
        .map_err(|error| format!("SIGHTLINE_REDIS_URL: {}", error.category()))
}
