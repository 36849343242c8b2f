//! Limits of one process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use super::{Decision, Rate, RateLimits};

/// Fewest keys that are looked through for those that are idle.
const FEW: usize = 1_024;

/// Limits that every process has for itself.
#[derive(Default)]
pub struct LocalLimits {
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    idle_at: HashMap<String, Instant>,
    /// How many there were when the idle ones were last forgotten.
    lately: usize,
}

impl Keys {
    /// Forgets keys that are idle, whenever there are twice as many as after the last time: a key costs as much as one
    /// look, however many strangers make up keys.
    fn forget_idle(&mut self, now: Instant) {
        if self.idle_at.len() >= 2 * self.lately.max(FEW) {
            self.idle_at.retain(|_, idle_at| *idle_at > now);
            self.lately = self.idle_at.len();
        }
    }
}

impl LocalLimits {
    /// Asks for room under a key.
    pub fn take_now(&self, key: &str, rate: Rate) -> Decision {
        self.take_at(Instant::now(), key, rate)
    }

    fn take_at(&self, now: Instant, key: &str, rate: Rate) -> Decision {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.forget_idle(now);
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
    async fn take(&self, key: &str, rate: Rate) -> Decision {
        self.take_now(key, rate)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_has_no_room_is_told_when_it_will_have() {
        let (limits, rate, start) = (LocalLimits::default(), Rate::per_second(4), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        let left: Vec<u32> = (0..4).map(|_| limits.take_at(start, "a", rate).remaining).collect();
        assert_eq!(left, [3, 2, 1, 0]);
        let refused = limits.take_at(start, "a", rate);
        assert!(!refused.allowed);
        assert_eq!((refused.retry_after, refused.resets_in), (Duration::from_millis(250), Duration::from_secs(1)));
        assert!(limits.take_at(start, "b", rate).allowed, "another key has room of its own");

        assert!(!limits.take_at(after(249), "a", rate).allowed);
        assert!(limits.take_at(after(250), "a", rate).allowed);
        assert!(!limits.take_at(after(250), "a", rate).allowed);
        assert_eq!((0..9).filter(|_| limits.take_at(after(1250), "a", rate).allowed).count(), 4);
    }

    #[test]
    fn keys_that_are_idle_are_forgotten() {
        let (limits, rate, start) = (LocalLimits::default(), Rate::per_second(1), Instant::now());
        for n in 0..100_000 {
            limits.take_at(start + Duration::from_millis(10 * n), &n.to_string(), rate);
        }
        assert!(limits.keys.lock().unwrap().idle_at.len() <= 2 * FEW);
    }
}
