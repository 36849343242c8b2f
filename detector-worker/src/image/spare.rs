//! Pixel buffers of pictures that are done with, for those that come next.
//!
//! A decoded picture has megabytes, and it is freed on another thread than the one that asked for it. The allocator gives
//! such memory back to the system, and each page of it then costs a fault when it is taken again: some hundreds for a
//! camera's frame. A few buffers are kept instead, of a size that cameras need.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Buffers that are kept at most.
const MOST: usize = 8;
/// Larger ones are given back: pictures of that size are rare.
const LARGEST: usize = 8 << 20;

/// Bytes that they may hold together.
pub const SPARE_BYTES: usize = MOST * LARGEST;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer of this length with anything in it.
pub fn buffer(length: usize) -> Vec<u8> {
    let mut found = take(&mut spare(), length).unwrap_or_default();
    found.resize(length, 0);
    found
}

/// Keeps a buffer, if it is worth it.
pub fn keep(buffer: Vec<u8>) {
    // What is dropped is dropped when the lock is free again.
    let _dropped = put(&mut spare(), buffer);
}

fn spare() -> MutexGuard<'static, Vec<Vec<u8>>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The smallest that is large enough: a large one is left for a large picture.
fn take(spare: &mut Vec<Vec<u8>>, length: usize) -> Option<Vec<u8>> {
    let fitting = spare.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= length);
    let (place, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
    Some(spare.swap_remove(place))
}

/// Gives what there is no room for: the smallest one, or one that is too large.
fn put(spare: &mut Vec<Vec<u8>>, buffer: Vec<u8>) -> Option<Vec<u8>> {
    if buffer.capacity() == 0 || buffer.capacity() > LARGEST {
        return Some(buffer);
    }
    spare.push(buffer);
    if spare.len() <= MOST {
        return None;
    }
    let (place, _) = spare.iter().enumerate().min_by_key(|(_, buffer)| buffer.capacity())?;
    Some(spare.swap_remove(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacities(spare: &[Vec<u8>]) -> Vec<usize> {
        let mut capacities: Vec<usize> = spare.iter().map(Vec::capacity).collect();
        capacities.sort_unstable();
        capacities
    }

    #[test]
    fn a_buffer_is_used_again_by_the_picture_that_it_fits_best() {
        let mut spare: Vec<Vec<u8>> = [3_000, 1_000, 2_000].map(Vec::with_capacity).into();
        assert_eq!(take(&mut spare, 1_500).map(|buffer| buffer.capacity()), Some(2_000));
        assert_eq!(take(&mut spare, 4_000), None);
        assert_eq!(capacities(&spare), [1_000, 3_000]);
    }

    #[test]
    fn no_more_is_kept_than_said_and_the_largest_longest() {
        let mut spare = Vec::new();
        for size in 1..=MOST + 2 {
            put(&mut spare, Vec::with_capacity(size * 1_000));
        }
        put(&mut spare, Vec::with_capacity(LARGEST + 1));
        put(&mut spare, Vec::new());
        assert_eq!(capacities(&spare), (3..=MOST + 2).map(|size| size * 1_000).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_in_a_buffer_does_not_change_its_length() {
        keep(vec![7; 64]);
        assert_eq!((buffer(10).len(), buffer(70).len()), (10, 70));
    }
}
