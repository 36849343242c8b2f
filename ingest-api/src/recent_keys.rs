//! Remembers the request of each idempotency key, to refuse a different request with the same key.
//!
//! A frame's id is derived from tenant and key, so a repeated request is the same frame on every replica and after a restart. A
//! key with another image or other parameters is a mistake of the client, which this cache detects. It is bounded and local to
//! the process: a request with a forgotten key is treated as a repeat of the first.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use contracts::FrameId;

/// Minimum number of remembered keys; the maximum is twice as many, about 5 MB.
const GENERATION: usize = 50_000;

/// Hashes of recent requests by frame id.
pub struct RecentKeys {
    hasher: RandomState,
    seen: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<FrameId, u64>,
    old: HashMap<FrameId, u64>,
}

impl RecentKeys {
    /// An empty cache.
    pub fn new() -> Self {
        Self { hasher: RandomState::new(), seen: Mutex::default() }
    }

    /// Whether a request is the first with this frame id, or equal to the first.
    pub fn is_first_or_same(&self, frame: FrameId, request: impl Hash) -> bool {
        let request = self.hasher.hash_one(request);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = seen.young.get(&frame).or_else(|| seen.old.get(&frame)) {
            return *first == request;
        }
        if seen.young.len() >= GENERATION {
            seen.old = std::mem::take(&mut seen.young);
        }
        seen.young.insert(frame, request);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_request_with_a_remembered_key_is_refused() {
        let (keys, frame) = (RecentKeys::new(), FrameId::now());
        assert!(keys.is_first_or_same(frame, ("gate-1", b"image")));
        assert!(keys.is_first_or_same(frame, ("gate-1", b"image")));
        assert!(!keys.is_first_or_same(frame, ("gate-1", b"another")));
        assert!(keys.is_first_or_same(FrameId::now(), ("gate-1", b"another")));
        for _ in 0..GENERATION {
            keys.is_first_or_same(FrameId::now(), 0);
        }
        assert!(!keys.is_first_or_same(frame, 1), "it is among the last {GENERATION}");
        for _ in 0..2 * GENERATION {
            keys.is_first_or_same(FrameId::now(), 0);
        }
        let seen = keys.seen.lock().unwrap();
        assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION);
    }
}
