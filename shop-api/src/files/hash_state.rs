//! SHA-256 that goes on after a restart: its state after whole blocks can be stored.
//!
//! In: bytes in whole blocks, and at the end the rest. Out: the hash (FIPS 180-4). Guarantee: the hash does not depend on where the state
//! was stored in between. The stored form is ours, so that it stays readable whatever version of the library wrote it.

use sha2::compress256;
use sha2::digest::consts::U64;
use sha2::digest::generic_array::GenericArray;

/// Bytes of a block.
const BLOCK: usize = 64;
/// Bytes of a stored state: eight words, and the number of bytes.
const STORED: usize = 8 * 4 + 8;
/// Blocks that are hashed in one call.
const AT_ONCE: usize = 32;
/// The state before the first byte: the first 32 bits of the fractional parts of the square roots of the first eight primes.
const BEGIN: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The state after whole blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashState {
    words: [u32; 8],
    bytes: u64,
}

impl HashState {
    /// The state before the first byte.
    pub const fn begin() -> Self {
        Self { words: BEGIN, bytes: 0 }
    }

    /// A stored state; `None` if it is none.
    pub fn restore(stored: &[u8]) -> Option<Self> {
        let stored: &[u8; STORED] = stored.try_into().ok()?;
        let (words, bytes) = stored.split_at(STORED - 8);
        let mut state = Self { words: [0; 8], bytes: u64::from_be_bytes(bytes.try_into().ok()?) };
        for (word, stored) in state.words.iter_mut().zip(words.chunks_exact(4)) {
            *word = u32::from_be_bytes(stored.try_into().ok()?);
        }
        state.bytes.is_multiple_of(BLOCK as u64).then_some(state)
    }

    /// The form in which it is stored.
    pub fn store(&self) -> Vec<u8> {
        let words = self.words.iter().flat_map(|word| word.to_be_bytes());
        words.chain(self.bytes.to_be_bytes()).collect()
    }

    /// Number of bytes that were hashed.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hashes the whole blocks at the beginning of `content`. Returns how many bytes these are.
    pub fn update(&mut self, content: &[u8]) -> usize {
        let mut gathered = [GenericArray::<u8, U64>::default(); AT_ONCE];
        let whole = content.len() / BLOCK * BLOCK;
        for blocks in content[..whole].chunks(AT_ONCE * BLOCK) {
            let number = blocks.len() / BLOCK;
            for (block, bytes) in gathered.iter_mut().zip(blocks.chunks_exact(BLOCK)) {
                block.copy_from_slice(bytes);
            }
            compress256(&mut self.words, &gathered[..number]);
        }
        self.bytes += whole as u64;
        whole
    }

    /// The hash of all bytes, of which `rest` are the last.
    pub fn finish(mut self, rest: &[u8]) -> [u8; 32] {
        let hashed = self.update(rest);
        let rest = &rest[hashed..];
        let bits = (self.bytes + rest.len() as u64) * 8;
        // A one, zeros, and the number of bits at the end of a block.
        let mut padded = [0; 2 * BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x80;
        let length = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        padded[length - 8..length].copy_from_slice(&bits.to_be_bytes());
        self.update(&padded[..length]);
        let mut hash = [0; 32];
        for (bytes, word) in hash.chunks_exact_mut(4).zip(self.words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn content(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(length as u64);
        (0..length).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn the_hash_is_sha256_at_every_length() {
        for length in (0..300).chain([4095, 4096, 4097, 100_000]) {
            let content = content(length);
            let expected: [u8; 32] = Sha256::digest(&content).into();
            assert_eq!(HashState::begin().finish(&content), expected, "{length}");
        }
    }

    #[test]
    fn a_stored_state_goes_on_to_the_same_hash() {
        let content = content(10_000);
        let expected: [u8; 32] = Sha256::digest(&content).into();
        let (mut state, mut at) = (HashState::begin(), 0);
        for step in [64, 128, 4096, 1000, 3000] {
            at += state.update(&content[at..at + step]);
            state = HashState::restore(&state.store()).unwrap();
            assert_eq!(state.bytes(), at as u64);
        }
        assert_eq!(state.finish(&content[at..]), expected);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let stored = HashState::begin().store();
        assert_eq!(HashState::restore(&stored[1..]), None);
        assert_eq!(HashState::restore(&[]), None);
        let mut odd = stored;
        odd[STORED - 1] = 1;
        assert_eq!(HashState::restore(&odd), None);
    }
}
