//! Limits on how often something may happen: requests of a user, sign-ins on an account.
//!
//! In: a key and a rate. Out: whether there is room, and what to tell the client. The generic cell rate algorithm: a key has
//! one number, the time at which it would be idle, so it costs the same however high the rate is. In one process
//! ([`LocalLimits`]), or shared by all through Redis ([`RedisLimits`]).

mod local;
mod shared;

use std::time::Duration;

use async_trait::async_trait;

pub use local::LocalLimits;
pub use shared::RedisLimits;
pub(crate) use shared::connect;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time for one.
    interval: Duration,
    /// How many at once.
    burst: u32,
}

impl Rate {
    /// One in each interval, and so many at once after a pause.
    pub const fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst }
    }

    /// So many a second, and as many at once.
    pub fn per_second(many: u32) -> Self {
        Self::new(Duration::from_secs(1) / many.max(1), many)
    }

    /// How many at once.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// How far ahead of the clock a key may be.
    fn ahead(&self) -> Duration {
        self.interval * self.burst
    }

    /// Whether one more has room, when the key will be idle after `busy`; and how long it is busy then.
    fn take(&self, busy: Duration) -> (Decision, Duration) {
        let next = busy + self.interval;
        if next > self.ahead() {
            return (self.refused(next - self.ahead(), busy), busy);
        }
        (self.allowed(next), next)
    }

    fn refused(&self, retry_after: Duration, busy: Duration) -> Decision {
        Decision { allowed: false, remaining: 0, retry_after, resets_in: busy }
    }

    fn allowed(&self, busy: Duration) -> Decision {
        let room = self.ahead().saturating_sub(busy).as_nanos() / self.interval.as_nanos().max(1);
        let remaining = u32::try_from(room).unwrap_or(u32::MAX);
        Decision { allowed: true, remaining, retry_after: Duration::ZERO, resets_in: busy }
    }
}

/// What came of asking for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether there was room; it is taken then.
    pub allowed: bool,
    /// How many more have room now.
    pub remaining: u32,
    /// When there is room again, where there was none.
    pub retry_after: Duration,
    /// When there is room for a whole burst again.
    pub resets_in: Duration,
}

/// The seam. Cheap to share as `Arc<dyn RateLimits>`.
#[async_trait]
pub trait RateLimits: Send + Sync {
    /// Asks for room under a key.
    async fn take(&self, key: &str, rate: Rate) -> Decision;
}
