//! Exact search: a scan of the codes decides which vectors can still be among the best, and only these are compared in full
//! precision.
//!
//! Let `q = q̂ + r` and `v = v̂ + s` be the query and a vector, each with its codes and its residual. Then
//!
//! ```text
//! q·v  =  q̂·v̂ + q̂·s + r·v  ≤  q̂·v̂ + |q̂||s| + |r|        because |v| = 1
//! ```
//!
//! `q̂·v̂` is the sum of the scan times both scales; `|s|` is stored as the vector's radius. A vector whose bound is below the
//! k-th best subject so far cannot change the result. All others are compared in full precision at once, which raises the k-th
//! best for the rest of the scan. The result is therefore that of comparing every vector, in any case; only the time depends on
//! the data. Of 100,000 vectors, some 140 are compared in full precision (measured by `examples/gallery_search.rs`); at worst,
//! if each is better than those before it or all are nearly the same, it is every vector.

use super::quantised::Query;
use super::{Codes, check};
use crate::best::{Best, Match};
use crate::embedding::{Embedding, EmbeddingError, similarity};
use crate::scan::{Kernel, LANES};

/// More than all rounding errors of `f32` in the bound and in the comparison. Sums of 16 lanes add at most 64 + 5 numbers in a row
/// for 1,024 dimensions, which is an error below 5e-6; that a norm is 1 is true to 1e-6 ([`Embedding`] accepts no other);
/// scales and bounds add less than 1e-6.
const ROUNDING: f32 = 1e-5;

/// Blocks scanned at a time: their sums (16 KiB) stay in the nearest cache.
const BLOCKS: usize = 256;

/// The result of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The best subjects: the most similar first, then the lowest id.
    pub matches: Vec<Match>,
    /// Vectors that were compared in full precision.
    pub compared: usize,
}

impl Codes {
    /// The `k` subjects whose nearest vectors are the most similar to the query, and at least `floor` (a cosine; −1 for all).
    /// Subjects whose nearest vector is not nearer than one of their negatives are left out, so that they take no place of
    /// others. Exact. Meant for `k` up to some hundred.
    ///
    /// # Errors
    /// If the query has another length than the vectors.
    pub fn search(&self, query: &Embedding, k: usize, floor: f32) -> Result<Found, EmbeddingError> {
        self.search_with(Kernel::best(), query, k, floor)
    }

    pub(super) fn search_with(
        &self,
        kernel: Kernel,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Found, EmbeddingError> {
        check(self.dimensions, query)?;
        let mut scan = Scan { best: Best::new(k, floor, self.subjects()), compared: 0 };
        if k > 0 {
            self.scan(kernel, query, &mut scan);
        }
        Ok(Found { matches: scan.best.into_matches(), compared: scan.compared })
    }

    fn scan(&self, kernel: Kernel, query: &Embedding, scan: &mut Scan) {
        let quantised = Query::of(query.numbers());
        let mut sums = [[0; LANES]; BLOCKS];
        let per_block = self.lines_per_block();
        for (chunk, lines) in self.lines.chunks(BLOCKS * per_block).enumerate() {
            let sums = &mut sums[..lines.len() / per_block];
            kernel.scan(lines, &quantised.lines, sums);
            for (block, sums) in sums.iter().enumerate() {
                let first = (chunk * BLOCKS + block) * LANES;
                self.compare_block(first, sums, &quantised, query, scan);
            }
        }
    }

    fn compare_block(&self, first: usize, sums: &[i32; LANES], quantised: &Query, query: &Embedding, scan: &mut Scan) {
        let end = (first + LANES).min(self.len());
        let (scales, radii) = (&self.scales[first..end], &self.radii[first..end]);
        let bound = |lane: usize, scale: f32, radius: f32| {
            let product = (sums[lane] - quantised.offset) as f32 * (scale * quantised.scale);
            product + radius * quantised.norm
        };
        let reach = |scan: &Scan| scan.best.floor() - quantised.radius - ROUNDING;
        // Nearly always no vector of the block is good enough. This form is compiled to a few vector instructions.
        if let (Ok(scales), Ok(radii)) = (<&[f32; LANES]>::try_from(scales), <&[f32; LANES]>::try_from(radii)) {
            let reach = reach(scan);
            let mut any = false;
            for lane in 0..LANES {
                any |= bound(lane, scales[lane], radii[lane]) >= reach;
            }
            if !any {
                return;
            }
        }
        for (lane, (scale, radius)) in scales.iter().zip(radii).enumerate() {
            if bound(lane, *scale, *radius) >= reach(scan) {
                self.compare(first + lane, query, scan);
            }
        }
    }

    fn compare(&self, at: usize, query: &Embedding, scan: &mut Scan) {
        let numbers = &self.numbers[at * self.dimensions..(at + 1) * self.dimensions];
        let similarity = similarity(numbers, query.numbers());
        scan.compared += 1;
        if similarity < scan.best.floor() {
            return;
        }
        // A subject is rejected if all its vectors are, so each is left out by itself.
        let subject = self.subjects[at];
        let negative = self.nearest_negative(&subject, query);
        scan.best.offer(Match { subject, similarity, vector: self.ids[at], negative });
    }
}

/// What a scan has found so far.
struct Scan {
    best: Best,
    compared: usize,
}
