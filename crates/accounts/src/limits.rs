//! Rate limits: on requests of a user, on sign-ins to an account.
//!
//! In: a key and a rate. Out: allowed or not, with the numbers for the client. The generic cell rate algorithm (GCRA): a key has
//! one number, the time at which it becomes idle, so its cost does not depend on the rate. Within one process ([`LocalLimits`]),
//! or shared by all instances through Redis ([`RedisLimits`]).

mod local;
mod shared;

use std::time::Duration;

use async_trait::async_trait;

pub use local::LocalLimits;
pub use shared::RedisLimits;

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time per event.
    interval: Duration,
    /// Maximum number of events at once after a pause.
    burst: u32,
}

impl Rate {
    /// One event per interval, and `burst` at once after a pause.
    pub const fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst }
    }

    /// `many` events per second, with a burst of `many`.
    pub fn per_second(many: u32) -> Self {
        Self::new(Duration::from_secs(1) / many.max(1), many)
    }

    /// Maximum number of events at once after a pause.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Longest time that a key may be busy ahead of the clock.
    fn ahead(&self) -> Duration {
        self.interval * self.burst
    }

    /// The decision for a key that is busy for `busy`, and the time for which it is busy afterwards.
    fn take(&self, busy: Duration) -> (RateLimitDecision, Duration) {
        let next = busy + self.interval;
        if next > self.ahead() {
            return (self.refused(next - self.ahead(), busy), busy);
        }
        (self.allowed(next), next)
    }

    fn refused(&self, retry_after: Duration, busy: Duration) -> RateLimitDecision {
        RateLimitDecision { allowed: false, remaining: 0, retry_after, resets_in: busy }
    }

    fn allowed(&self, busy: Duration) -> RateLimitDecision {
        let free = self.ahead().saturating_sub(busy).as_nanos() / self.interval.as_nanos().max(1);
        let remaining = u32::try_from(free).unwrap_or(u32::MAX);
        RateLimitDecision { allowed: true, remaining, retry_after: Duration::ZERO, resets_in: busy }
    }
}

/// The decision about one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitDecision {
    /// Whether the event is allowed; it counts then.
    pub allowed: bool,
    /// Further events that would be allowed now.
    pub remaining: u32,
    /// Time until the next event is allowed; zero for an allowed one.
    pub retry_after: Duration,
    /// Time until a whole burst is allowed.
    pub resets_in: Duration,
}

/// Counts events under keys. Shared as `Arc<dyn RateLimits>`.
#[async_trait]
pub trait RateLimits: Send + Sync {
    /// Counts one event under a key, if the rate allows it.
    async fn take(&self, key: &str, rate: Rate) -> RateLimitDecision;

    /// Whether all instances count together.
    fn is_shared(&self) -> bool {
        false
    }

    /// Succeeds while the limits are counted where they should be.
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
