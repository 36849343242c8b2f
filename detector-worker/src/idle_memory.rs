//! Memory that the process holds without use.

/// Returns pooled pixel buffers and the free memory of the heap to the system. Takes milliseconds, during which other threads
/// may wait for the allocator, so it is called when there is no work.
///
/// glibc keeps freed memory of up to 32 MiB in one piece for the next allocation, in as many heaps as there are threads.
pub fn release() {
    crate::pixels::release_buffers();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes the allocator's own locks and has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
