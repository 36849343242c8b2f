//! Kernels for x86-64.
#![expect(unsafe_code, reason = "intrinsics that load from memory take pointers")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_load_si256, _mm256_madd_epi16, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_setzero_si256, _mm256_srli_epi16, _mm256_storeu_si256, _mm512_add_epi32,
    _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::{DEPTH, LANES, Line};

/// One multiplication for a line. Four sums are independent, because each instruction waits five cycles for the one before it.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn avx512(lines: &[Line], query: &[[i8; DEPTH]], sums: &mut [[i32; LANES]]) {
    let (query, rest) = query.as_chunks::<4>();
    let per_block = query.len() * 4 + rest.len();
    for (block, sums) in lines.chunks_exact(per_block).zip(sums) {
        let mut parts = [_mm512_setzero_si512(); 4];
        let (fours, last) = block.as_chunks::<4>();
        for (lines, numbers) in fours.iter().zip(query) {
            for part in 0..4 {
                // SAFETY: a line has 64 bytes and is aligned to 64.
                let codes = unsafe { _mm512_load_si512(lines[part].0.as_ptr().cast()) };
                parts[part] = _mm512_dpbusd_epi32(parts[part], codes, _mm512_set1_epi32(as_i32(numbers[part])));
            }
        }
        for (line, numbers) in last.iter().zip(rest) {
            // SAFETY: as above.
            let codes = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
            parts[0] = _mm512_dpbusd_epi32(parts[0], codes, _mm512_set1_epi32(as_i32(*numbers)));
        }
        let [a, b, c, d] = parts;
        let sum = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
        // SAFETY: `sums` has 16 numbers of 4 bytes.
        unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), sum) };
    }
}

/// Even and odd codes are multiplied apart, as 16-bit numbers: the instruction that multiplies bytes directly saturates.
#[target_feature(enable = "avx2")]
pub(super) fn avx2(lines: &[Line], query: &[[i8; DEPTH]], sums: &mut [[i32; LANES]]) {
    let low_bytes = _mm256_set1_epi16(0x00ff);
    for (block, sums) in lines.chunks_exact(query.len()).zip(sums) {
        let mut even = [_mm256_setzero_si256(); 2];
        let mut odd = even;
        for (line, numbers) in block.iter().zip(query) {
            let (even_numbers, odd_numbers) = (pair(numbers[0], numbers[2]), pair(numbers[1], numbers[3]));
            for half in 0..2 {
                // SAFETY: a line has two halves of 32 bytes and is aligned to 64.
                let codes = unsafe { _mm256_load_si256(line.0.as_ptr().cast::<__m256i>().add(half)) };
                let products = _mm256_madd_epi16(_mm256_and_si256(codes, low_bytes), even_numbers);
                even[half] = _mm256_add_epi32(even[half], products);
                let products = _mm256_madd_epi16(_mm256_srli_epi16::<8>(codes), odd_numbers);
                odd[half] = _mm256_add_epi32(odd[half], products);
            }
        }
        for half in 0..2 {
            let sum = _mm256_add_epi32(even[half], odd[half]);
            // SAFETY: `sums` has two halves of 8 numbers of 4 bytes.
            unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast::<__m256i>().add(half), sum) };
        }
    }
}

fn as_i32(numbers: [i8; DEPTH]) -> i32 {
    i32::from_le_bytes(numbers.map(i8::cast_unsigned))
}

#[target_feature(enable = "avx2")]
fn pair(first: i8, second: i8) -> __m256i {
    let [a, b] = i16::from(first).to_le_bytes();
    let [c, d] = i16::from(second).to_le_bytes();
    _mm256_set1_epi32(i32::from_le_bytes([a, b, c, d]))
}
