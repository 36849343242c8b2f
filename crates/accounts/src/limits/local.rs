//! Limits of one process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

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
        let now = Instant::now();
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

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_is_told_when_it_will_have() {
        let (limits, rate) = (LocalLimits::default(), Rate::per_second(4));
        let left: Vec<u32> = (0..4).map(|_| limits.take_now("a", rate).remaining).collect();
        assert_eq!(left, [3, 2, 1, 0]);
        let refused = limits.take_now("a", rate);
        assert!(!refused.allowed);
        assert_eq!((refused.retry_after, refused.resets_in), (Duration::from_millis(250), Duration::from_secs(1)));
        assert!(limits.take_now("b", rate).allowed, "another key has room of its own");

        tokio::time::advance(refused.retry_after).await;
        assert!(limits.take_now("a", rate).allowed);
        assert!(!limits.take_now("a", rate).allowed);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..9).filter(|_| limits.take_now("a", rate).allowed).count(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_idle_are_forgotten() {
        let (limits, rate) = (LocalLimits::default(), Rate::per_second(1));
        for n in 0..100_000 {
            limits.take_now(&n.to_string(), rate);
            if n % 100 == 0 {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
        assert!(limits.keys.lock().unwrap().idle_at.len() <= 2 * FEW);
    }
}
