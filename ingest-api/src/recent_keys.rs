//! What came under which idempotency key, of the recent ones that this process saw.
//!
//! A frame's id follows from tenant and key, so a repeat is the same frame on every replica and after every restart. This
//! memory adds one thing: a key that comes again with another image or other parameters is a mistake, which would else
//! pass for a repeat, and is told. It is bounded and this process's own: beyond it, such a request is taken as a repeat of
//! the first.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use contracts::FrameId;

/// Keys that are remembered at least, and half of those that are at most: some 5 MB.
const GENERATION: usize = 50_000;

/// The memory.
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
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self { hasher: RandomState::new(), seen: Mutex::default() }
    }

    /// Whether a request under the key of this frame is the first that is remembered, or the same as that.
    pub fn agrees(&self, frame: FrameId, request: impl Hash) -> bool {
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
    fn another_request_under_the_same_key_is_told_while_the_key_is_remembered() {
        let (keys, frame) = (RecentKeys::new(), FrameId::now());
        assert!(keys.agrees(frame, ("gate-1", b"image")));
        assert!(keys.agrees(frame, ("gate-1", b"image")));
        assert!(!keys.agrees(frame, ("gate-1", b"another")));
        assert!(keys.agrees(FrameId::now(), ("gate-1", b"another")));
        for _ in 0..GENERATION {
            keys.agrees(FrameId::now(), 0);
        }
        assert!(!keys.agrees(frame, 1), "it is among the last {GENERATION}");
        for _ in 0..2 * GENERATION {
            keys.agrees(FrameId::now(), 0);
        }
        let seen = keys.seen.lock().unwrap();
        assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION);
    }
}
