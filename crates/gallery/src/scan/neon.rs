//! The kernel for 64-bit ARM.
#![expect(unsafe_code, reason = "intrinsics that load from memory take pointers")]

use std::arch::aarch64::{
    int32x4_t, vdupq_n_s32, vget_high_s16, vget_low_s16, vget_low_u8, vld1_s16, vld1q_u8, vmlal_s16, vmovl_high_u8,
    vmovl_u8, vpaddq_s32, vreinterpretq_s16_u16, vst1q_s32,
};

use super::{DEPTH, LANES, Line};

/// Codes are widened to 16 bits. Each sum of a vector is first four sums, one for each number of a line.
#[target_feature(enable = "neon")]
pub(super) fn scan(lines: &[Line], query: &[[i8; DEPTH]], sums: &mut [[i32; LANES]]) {
    for (block, sums) in lines.chunks_exact(query.len()).zip(sums) {
        let mut parts = [vdupq_n_s32(0); LANES];
        for (line, numbers) in block.iter().zip(query) {
            let numbers = numbers.map(i16::from);
            // SAFETY: four numbers of 2 bytes.
            let numbers = unsafe { vld1_s16(numbers.as_ptr()) };
            for (quarter, parts) in parts.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                // SAFETY: a line has four quarters of 16 bytes.
                let codes = unsafe { vld1q_u8(line.0.as_ptr().add(quarter * 16)) };
                let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes)));
                let high = vreinterpretq_s16_u16(vmovl_high_u8(codes));
                parts[0] = vmlal_s16(parts[0], vget_low_s16(low), numbers);
                parts[1] = vmlal_s16(parts[1], vget_high_s16(low), numbers);
                parts[2] = vmlal_s16(parts[2], vget_low_s16(high), numbers);
                parts[3] = vmlal_s16(parts[3], vget_high_s16(high), numbers);
            }
        }
        for (sums, parts) in sums.as_chunks_mut::<4>().0.iter_mut().zip(parts.as_chunks::<4>().0) {
            let total: int32x4_t = vpaddq_s32(vpaddq_s32(parts[0], parts[1]), vpaddq_s32(parts[2], parts[3]));
            // SAFETY: four numbers of 4 bytes.
            unsafe { vst1q_s32(sums.as_mut_ptr(), total) };
        }
    }
}
