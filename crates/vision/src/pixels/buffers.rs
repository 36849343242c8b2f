//! A pool of pixel buffers, so that the next image uses the memory of an earlier one.
//!
//! A decoded image has megabytes, and is freed by another thread than the one that allocated it.
//! The allocator returns such memory to the system, and allocating it again costs a page fault per
//! page: some hundreds for the frame of a camera. The pool keeps a few buffers of the sizes that
//! cameras need.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of buffers in the pool.
const MAX_BUFFERS: usize = 8;
/// Maximum size of a buffer in the pool, in bytes. Larger images are rare.
const MAX_BUFFER_BYTES: usize = 8 << 20;

/// Maximum number of bytes in the pool.
pub const BUFFER_POOL_BYTES: usize = MAX_BUFFERS * MAX_BUFFER_BYTES;

static POOL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer of `length` bytes with arbitrary content.
pub fn buffer(length: usize) -> Vec<u8> {
    let mut found = take(&mut pool(), length).unwrap_or_default();
    found.resize(length, 0);
    found
}

/// Returns a buffer to the pool. The pool drops it if it is empty, too large, or the smallest of too many.
pub fn recycle(buffer: Vec<u8>) {
    // A variable, so that the buffer is freed after the lock is released.
    let _dropped = put(&mut pool(), buffer);
}

/// Frees all buffers of the pool.
pub fn release() {
    let _dropped = std::mem::take(&mut *pool());
}

fn pool() -> MutexGuard<'static, Vec<Vec<u8>>> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The smallest buffer that is large enough, so that large ones remain for large images.
fn take(pool: &mut Vec<Vec<u8>>, length: usize) -> Option<Vec<u8>> {
    let fitting = pool.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= length);
    let (index, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
    Some(pool.swap_remove(index))
}

/// Adds a buffer to the pool. Returns the one that the pool does not keep.
fn put(pool: &mut Vec<Vec<u8>>, buffer: Vec<u8>) -> Option<Vec<u8>> {
    if buffer.capacity() == 0 || buffer.capacity() > MAX_BUFFER_BYTES {
        return Some(buffer);
    }
    pool.push(buffer);
    if pool.len() <= MAX_BUFFERS {
        return None;
    }
    let (index, _) = pool.iter().enumerate().min_by_key(|(_, buffer)| buffer.capacity())?;
    Some(pool.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacities(pool: &[Vec<u8>]) -> Vec<usize> {
        let mut capacities: Vec<usize> = pool.iter().map(Vec::capacity).collect();
        capacities.sort_unstable();
        capacities
    }

    #[test]
    fn the_smallest_buffer_that_fits_is_reused() {
        let mut pool: Vec<Vec<u8>> = [3_000, 1_000, 2_000].map(Vec::with_capacity).into();
        assert_eq!(take(&mut pool, 1_500).map(|buffer| buffer.capacity()), Some(2_000));
        assert_eq!(take(&mut pool, 4_000), None);
        assert_eq!(capacities(&pool), [1_000, 3_000]);
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_of_the_largest() {
        let mut pool = Vec::new();
        for size in 1..=MAX_BUFFERS + 2 {
            put(&mut pool, Vec::with_capacity(size * 1_000));
        }
        put(&mut pool, Vec::with_capacity(MAX_BUFFER_BYTES + 1));
        put(&mut pool, Vec::new());
        assert_eq!(capacities(&pool), (3..=MAX_BUFFERS + 2).map(|size| size * 1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_reused_buffer_has_the_requested_length() {
        recycle(vec![7; 64]);
        assert_eq!((buffer(10).len(), buffer(70).len()), (10, 70));
    }
}
