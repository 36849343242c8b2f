//! Remembers the request of each idempotency key, to refuse a different request with the same key.
//!
//! A frame's id follows from tenant and key, so a repeated request is the same frame on every replica and after a restart. A
//! key with another image or other parameters is a mistake of the client, which this memory detects. It is bounded and local
//! to the process: a request whose key it has forgotten is treated as a repeat of the first.
//!
//! A key counts from the moment at which the broker may have stored the frame. A request that fails before, because of a quota
//! or a full disk, frees its key. While a request runs, its key is reserved: a different request with the key is refused, an equal one runs concurrently.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use contracts::FrameId;

/// Least number of keys that are remembered; the most is twice that, some 8 MB.
const GENERATION: usize = 50_000;

/// Hashes of recent requests by frame id.
pub struct RecentKeys {
    hasher: RandomState,
    seen: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<FrameId, Request>,
    old: HashMap<FrameId, Request>,
}

/// The request of a key.
#[derive(Debug, Clone, Copy)]
struct Request {
    hash: u64,
    /// Equal requests that run now.
    running: u32,
    /// Whether one of them may be stored.
    may_be_stored: bool,
}

/// The key of a request that runs. When it is dropped, the key is free again, unless the frame may be stored.
#[derive(Default)]
pub struct KeyClaim<'a> {
    /// `None` for a request without a key.
    claimed: Option<(&'a RecentKeys, FrameId, u64)>,
    may_be_stored: bool,
}

impl KeyClaim<'_> {
    /// Records whether the broker may have stored the frame.
    pub const fn set_may_be_stored(&mut self, may_be_stored: bool) {
        self.may_be_stored = may_be_stored;
    }
}

impl Drop for KeyClaim<'_> {
    fn drop(&mut self) {
        if let Some((keys, frame, hash)) = self.claimed {
            keys.release(frame, hash, self.may_be_stored);
        }
    }
}

impl Generations {
    fn get_mut(&mut self, frame: FrameId) -> Option<&mut Request> {
        self.young.get_mut(&frame).or_else(|| self.old.get_mut(&frame))
    }

    fn insert(&mut self, frame: FrameId, request: Request) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(frame, request);
    }
}

impl RecentKeys {
    /// An empty cache.
    pub fn new() -> Self {
        Self { hasher: RandomState::new(), seen: Mutex::default() }
    }

    /// Claims the key of a request; `None` if the key is that of a different request.
    pub fn claim(&self, frame: FrameId, request: impl Hash) -> Option<KeyClaim<'_>> {
        let hash = self.hasher.hash_one(request);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(frame) {
            Some(first) if first.hash != hash => return None,
            Some(first) => first.running += 1,
            None => seen.insert(frame, Request { hash, running: 1, may_be_stored: false }),
        }
        Some(KeyClaim { claimed: Some((self, frame, hash)), may_be_stored: false })
    }

    fn release(&self, frame: FrameId, hash: u64, may_be_stored: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(frame) {
            Some(request) if request.hash == hash => {
                request.running = request.running.saturating_sub(1);
                request.may_be_stored |= may_be_stored;
                if request.running == 0 && !request.may_be_stored {
                    seen.young.remove(&frame);
                    seen.old.remove(&frame);
                }
            }
            // The memory forgot this request while it ran.
            Some(_) => {}
            None if may_be_stored => seen.insert(frame, Request { hash, running: 0, may_be_stored }),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a request is accepted; it may be stored then.
    fn is_accepted(keys: &RecentKeys, frame: FrameId, request: impl Hash) -> bool {
        keys.claim(frame, request).is_some_and(|mut claim| {
            claim.set_may_be_stored(true);
            true
        })
    }

    #[test]
    fn another_request_with_a_remembered_key_is_refused() {
        let (keys, frame) = (RecentKeys::new(), FrameId::now());
        assert!(is_accepted(&keys, frame, ("gate-1", b"image")));
        assert!(is_accepted(&keys, frame, ("gate-1", b"image")));
        assert!(!is_accepted(&keys, frame, ("gate-1", b"another")));
        assert!(is_accepted(&keys, FrameId::now(), ("gate-1", b"another")));
        for _ in 0..GENERATION {
            is_accepted(&keys, FrameId::now(), 0);
        }
        assert!(!is_accepted(&keys, frame, 1), "it is among the last {GENERATION}");
        for _ in 0..2 * GENERATION {
            is_accepted(&keys, FrameId::now(), 0);
        }
        let seen = keys.seen.lock().unwrap();
        assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn a_request_that_failed_frees_its_key() {
        let (keys, frame) = (RecentKeys::new(), FrameId::now());
        drop(keys.claim(frame, 1));
        assert!(is_accepted(&keys, frame, 2));
        drop(keys.claim(frame, 2));
        assert!(keys.claim(frame, 1).is_none(), "the key was accepted for another request before");
    }

    #[test]
    fn a_key_is_taken_while_a_request_with_it_runs() {
        let (keys, frame) = (RecentKeys::new(), FrameId::now());
        let first = keys.claim(frame, 1).unwrap();
        assert!(keys.claim(frame, 2).is_none());
        let mut second = keys.claim(frame, 1).unwrap();
        drop(first);
        assert!(keys.claim(frame, 2).is_none(), "an equal request still runs");
        second.set_may_be_stored(true);
        drop(second);
        drop(keys.claim(frame, 1));
        assert!(keys.claim(frame, 2).is_none());
    }
}
