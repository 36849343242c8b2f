//! The bound on the memory of all galleries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Bytes that galleries may take together.
pub(super) struct Budget {
    bound: usize,
    used: Mutex<usize>,
    freed: Notify,
}

impl Budget {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, used: Mutex::new(0), freed: Notify::new() }
    }

    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    pub(super) fn used(&self) -> usize {
        *self.lock()
    }

    /// Reserves bytes, or returns nothing if they are not free.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0, ended: Arc::default() };
        reservation.resize(bytes).then_some(reservation)
    }

    /// Ends when bytes are given back after this call.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reserved bytes. They are given back on drop.
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
    ended: Arc<AtomicBool>,
}

impl Reservation {
    /// Becomes true when all bytes have been given back.
    pub(super) fn ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ended)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves more bytes or gives some back. Returns `false`, and changes nothing, if they are not free.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        let mut used = self.budget.lock();
        let others = *used - self.bytes;
        if bytes > self.bytes && others.saturating_add(bytes) > self.budget.bound {
            return false;
        }
        *used = others + bytes;
        if bytes < self.bytes {
            // Only those who wait: a stored permit would wake a later one for memory that is long in use.
            self.budget.freed.notify_waiters();
        }
        self.bytes = bytes;
        true
    }

    /// Takes over the bytes of another reservation.
    pub(super) fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.resize(0);
        self.ended.store(true, Ordering::SeqCst);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    /// Otherwise a gallery gives way for memory that is long in use.
    #[tokio::test]
    async fn only_memory_that_is_freed_later_wakes() {
        let budget = Arc::new(Budget::new(10));
        let reservation = budget.reserve(10).unwrap();
        let ended = reservation.ended();
        assert!(budget.reserve(1).is_none() && !ended.load(Ordering::SeqCst));
        drop(reservation);
        assert!(ended.load(Ordering::SeqCst));
        assert!(budget.freed().now_or_never().is_none());
        let reservation = budget.reserve(10).unwrap();
        let mut freed = std::pin::pin!(budget.freed());
        freed.as_mut().enable();
        drop(reservation);
        assert!(freed.now_or_never().is_some());
    }
}
