//! The scan: products of one query with all codes of a gallery, in whole numbers.
//!
//! Codes are stored in blocks of 16 vectors. A line of a block has 64 bytes: four numbers of each of the 16 vectors. One
//! instruction multiplies a line with the four numbers of the query and adds four products to each vector's sum, so the sums
//! need no final addition across a register, and a vector costs little more than its bytes take from memory.
//!
//! ```text
//! line 0:  v0[0..4] v1[0..4] … v15[0..4]      × query[0..4], to every vector
//! line 1:  v0[4..8] v1[4..8] … v15[4..8]      × query[4..8]
//! ```
//!
//! A stored code is the signed code plus 128, because the instruction multiplies unsigned with signed bytes. All kernels compute the
//! same whole numbers.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Vectors of a block.
pub(crate) const LANES: usize = 16;
/// Numbers of each vector in a line.
pub(crate) const DEPTH: usize = 4;
/// What is added to a signed code.
pub(crate) const OFFSET: i32 = 128;

/// Four codes of each of 16 vectors. A line of the processor's cache.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line(pub(crate) [u8; LANES * DEPTH]);

impl Line {
    /// Sixteen vectors of zeros.
    pub(crate) const ZERO: Self = Self([OFFSET as u8; LANES * DEPTH]);
}

/// The instructions of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// AVX-512 with VNNI: one instruction for a line.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// NEON, which every 64-bit ARM has.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Any processor.
    Portable,
}

impl Kernel {
    /// The fastest kernel of this processor.
    pub(crate) fn best() -> Self {
        Self::available().into_iter().next().unwrap_or(Self::Portable)
    }

    /// All kernels that this processor can run, the fastest first.
    pub(crate) fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                kernels.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") {
                kernels.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        kernels.push(Self::Neon);
        kernels.push(Self::Portable);
        kernels
    }

    /// Writes the sums of products of `query` with the stored codes (with [`OFFSET`]) of each block. `lines` has
    /// `query.len()` lines for each block, and `sums` 16 numbers.
    ///
    /// A sum fits: 255 × 127 × 1,024 numbers are 33 million.
    #[expect(unsafe_code, reason = "a kernel may run only where its instructions exist")]
    pub(crate) fn scan(self, lines: &[Line], query: &[[i8; DEPTH]], sums: &mut [[i32; LANES]]) {
        assert_eq!(lines.len(), query.len() * sums.len(), "a block has a line for each four numbers of the query");
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` found these instructions on this processor; no other code makes this value.
            Self::Avx512 => unsafe { x86::avx512(lines, query, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx2 => unsafe { x86::avx2(lines, query, sums) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: every 64-bit ARM has NEON.
            Self::Neon => unsafe { neon::scan(lines, query, sums) },
            Self::Portable => portable(lines, query, sums),
        }
    }
}

fn portable(lines: &[Line], query: &[[i8; DEPTH]], sums: &mut [[i32; LANES]]) {
    for (block, sums) in lines.chunks_exact(query.len()).zip(sums) {
        *sums = [0; LANES];
        for (line, numbers) in block.iter().zip(query) {
            let numbers = numbers.map(i32::from);
            for (sum, codes) in sums.iter_mut().zip(line.0.as_chunks::<DEPTH>().0) {
                for index in 0..DEPTH {
                    *sum += i32::from(codes[index]) * numbers[index];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_computes_the_same_sums() {
        let mut random = fastrand::Rng::with_seed(1);
        for query_lines in [1, 2, 3, 5, 8, 32, 33, 64, 256] {
            for blocks in [1, 2, 7] {
                let query: Vec<[i8; 4]> =
                    (0..query_lines).map(|_| std::array::from_fn(|_| random.i8(-127..=127))).collect();
                let lines: Vec<Line> =
                    (0..query_lines * blocks).map(|_| Line(std::array::from_fn(|_| random.u8(1..=255)))).collect();
                let wanted = by_definition(&lines, &query, blocks);
                for kernel in Kernel::available() {
                    let mut sums = vec![[7; LANES]; blocks];
                    kernel.scan(&lines, &query, &mut sums);
                    assert_eq!(sums, wanted, "{kernel:?}, {query_lines} lines");
                }
            }
        }
    }

    /// The largest products: no kernel may saturate or overflow.
    #[test]
    fn extreme_codes_do_not_saturate() {
        for number in [127, -127] {
            let (query, lines) = (vec![[number; 4]; 256], vec![Line([255; 64]); 256]);
            for kernel in Kernel::available() {
                let mut sums = vec![[0; LANES]; 1];
                kernel.scan(&lines, &query, &mut sums);
                assert_eq!(sums[0], [255 * i32::from(number) * 1024; LANES], "{kernel:?}");
            }
        }
    }

    fn by_definition(lines: &[Line], query: &[[i8; 4]], blocks: usize) -> Vec<[i32; LANES]> {
        let code = |block: usize, lane: usize, number: usize| {
            i32::from(lines[block * query.len() + number / 4].0[lane * 4 + number % 4])
        };
        let product = |block, lane, number: usize| code(block, lane, number) * i32::from(query[number / 4][number % 4]);
        let sum = |block, lane| (0..query.len() * 4).map(|number| product(block, lane, number)).sum();
        (0..blocks).map(|block| std::array::from_fn(|lane| sum(block, lane))).collect()
    }
}
