//! Rate limits that all instances share through Redis. While Redis does not answer, each instance counts for itself.

use std::time::Duration;

use async_trait::async_trait;
use redis::{RedisError, Script};

use super::{LocalLimits, Rate, RateLimitDecision, RateLimits};
use crate::redis_link::{RedisLink, within};

/// Time limit of one call of Redis; then this instance counts for itself.
const REDIS_TIMEOUT: Duration = Duration::from_millis(100);
/// Rate of the key that [`RateLimits::check`] counts under. The decision does not matter.
const CHECK_RATE: Rate = Rate::new(Duration::from_secs(1), 1);

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
    link: RedisLink,
    take: Script,
    /// Counts while Redis does not answer.
    fallback: LocalLimits,
}

impl RedisLimits {
    /// Uses the Redis at this address. It need not be reachable yet.
    ///
    /// # Errors
    /// The address is not a Redis address.
    pub fn new(url: &str) -> Result<Self, String> {
        let link = RedisLink::new(url, "each instance counts requests for itself")?;
        Ok(Self { link, take: Script::new(TAKE), fallback: LocalLimits::default() })
    }

    async fn take_in_redis(&self, key: &str, rate: Rate) -> Result<RateLimitDecision, RedisError> {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let mut invocation = self.take.key(format!("sightline:limit:{key}"));
        invocation.arg(micros(rate.interval)).arg(micros(rate.ahead()));
        let (allowed, retry_after, busy): (u8, u64, u64) = invocation.invoke_async(&mut self.link.connection()).await?;
        let busy = Duration::from_micros(busy);
        Ok(if allowed == 1 { rate.allowed(busy) } else { rate.refused(Duration::from_micros(retry_after), busy) })
    }
}

#[async_trait]
impl RateLimits for RedisLimits {
    async fn take(&self, key: &str, rate: Rate) -> RateLimitDecision {
        if self.link.is_paused() {
            return self.fallback.take_now(key, rate);
        }
        let taken = self.link.call(REDIS_TIMEOUT, self.take_in_redis(key, rate)).await;
        taken.unwrap_or_else(|_| self.fallback.take_now(key, rate))
    }

    fn is_shared(&self) -> bool {
        true
    }

    /// Counts like a request, because a Redis that answers PING may still refuse to write, such as a full one or a replica.
    async fn check(&self) -> Result<(), String> {
        within(REDIS_TIMEOUT, self.take_in_redis("check", CHECK_RATE)).await.map(drop)
    }
}
