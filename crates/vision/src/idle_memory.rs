//! Unused memory of the process. It is released when the last busy inference thread becomes idle.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of busy inference threads in this process.
static BUSY: AtomicUsize = AtomicUsize::new(0);

/// An inference thread that works or worked recently.
pub struct BusyThread(());

impl BusyThread {
    /// Counts the thread as busy.
    pub fn begin() -> Self {
        BUSY.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// Counts the thread as idle. Releases memory if no other thread is busy.
    pub fn become_idle(self) {
        drop(self);
        if BUSY.load(Ordering::Relaxed) == 0 {
            release();
        }
    }
}

impl Drop for BusyThread {
    fn drop(&mut self) {
        BUSY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns pooled pixel buffers and the free memory of the heap to the system. Takes milliseconds, during which other threads
/// may wait for the allocator, so it is called when there is no work.
///
/// glibc keeps freed blocks of up to 32 MiB for later allocations, in one heap per thread.
fn release() {
    crate::pixels::release_buffers();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes the allocator's own locks and has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
