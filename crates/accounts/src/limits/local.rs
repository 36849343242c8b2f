//! Rate limits within one process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use super::{Rate, RateLimitDecision, RateLimits};

/// Number of keys from which on idle ones are removed.
const SWEEP_FROM: usize = 1_024;

/// Rate limits of this process alone.
#[derive(Default)]
pub struct LocalLimits {
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    idle_at: HashMap<String, Instant>,
    /// Number of keys after the last removal of idle ones.
    after_sweep: usize,
}

impl Keys {
    /// Removes idle keys whenever their number has doubled since the last time, so the cost per key
    /// stays constant even if clients invent many keys.
    fn sweep_idle(&mut self, now: Instant) {
        if self.idle_at.len() >= 2 * self.after_sweep.max(SWEEP_FROM) {
            self.idle_at.retain(|_, idle_at| *idle_at > now);
            self.after_sweep = self.idle_at.len();
        }
    }
}

impl LocalLimits {
    /// Counts one event under a key, if the rate allows it.
    pub fn take_now(&self, key: &str, rate: Rate) -> RateLimitDecision {
        self.take_at(Instant::now(), key, rate)
    }

    fn take_at(&self, now: Instant, key: &str, rate: Rate) -> RateLimitDecision {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.sweep_idle(now);
        let busy = keys.idle_at.get(key).map_or_else(Default::default, |idle_at| idle_at.duration_since(now));
        let (decision, busy) = rate.take(busy);
        if decision.allowed {
            keys.idle_at.insert(key.to_owned(), now + busy);
        }
        decision
    }
}

#[async_trait]
impl RateLimits for LocalLimits {
    async fn take(&self, key: &str, rate: Rate) -> RateLimitDecision {
        self.take_now(key, rate)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_says_when_the_next_event_is_allowed() {
        let (limits, rate, start) = (LocalLimits::default(), Rate::per_second(4), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        let left: Vec<u32> = (0..4).map(|_| limits.take_at(start, "a", rate).remaining).collect();
        assert_eq!(left, [3, 2, 1, 0]);
        let refused = limits.take_at(start, "a", rate);
        assert!(!refused.allowed);
        assert_eq!((refused.retry_after, refused.resets_in), (Duration::from_millis(250), Duration::from_secs(1)));
        assert!(limits.take_at(start, "b", rate).allowed, "another key has its own limit");

        assert!(!limits.take_at(after(249), "a", rate).allowed);
        assert!(limits.take_at(after(250), "a", rate).allowed);
        assert!(!limits.take_at(after(250), "a", rate).allowed);
        assert_eq!((0..9).filter(|_| limits.take_at(after(1250), "a", rate).allowed).count(), 4);
    }

    #[test]
    fn idle_keys_are_removed() {
        let (limits, rate, start) = (LocalLimits::default(), Rate::per_second(1), Instant::now());
        for n in 0..100_000 {
            limits.take_at(start + Duration::from_millis(10 * n), &n.to_string(), rate);
        }
        assert!(limits.keys.lock().unwrap().idle_at.len() <= 2 * SWEEP_FROM);
    }
}
