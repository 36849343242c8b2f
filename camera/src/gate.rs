//! The motion gate: skips frames in which nothing moves, before they are encoded and sent.
//!
//! A frame is compared with the last one that was sent, and not with the one before it, so slow movement adds up. Both are reduced to a
//! few hundred pixels across, luma only, and compared in small blocks: an object that moves changes some blocks much, while noise
//! changes all a little. A light that changes everywhere by the same amount is subtracted, and slow changes of light are adopted.
//!
//! After a strong movement, frames are sent for a moment even if they differ little. A film that was shown at another rate repeats
//! frames in the middle of a movement, and a detector that sees an object barely may find it in such a frame only.
//!
//! What the gate cannot judge is sent, and every few seconds a frame is sent in any case.

use jiff::SignedDuration;

/// Width of the reduced image, about.
const WIDTH: usize = 320;
/// Side of a block of the reduced image.
const BLOCK: usize = 4;
/// Parts of a level in which means are kept.
const PARTS: i32 = 16;
/// Change of a block's mean, of 255, that counts as movement.
const CHANGE: i32 = 14 * PARTS;
/// Change of a block's mean after which frames are sent for a moment.
const STRONG_CHANGE: i32 = 2 * CHANGE;
/// Time for which frames are sent after a strong movement.
const HOLD: SignedDuration = SignedDuration::from_millis(300);
/// Change of the whole image that is no longer light but another image.
const OTHER_IMAGE: i32 = 40 * PARTS;
/// A frame is sent after this time, whatever it shows.
const REFRESH: SignedDuration = SignedDuration::from_secs(5);
/// The reference adopts a change of light by one level in this time: too slow to adopt an object before the refresh.
const ADOPTION: SignedDuration = SignedDuration::from_millis(1000);

/// The gate of one source.
#[derive(Default)]
pub struct Gate {
    /// Width and height of the frames.
    size: (usize, usize),
    /// The block means of the last frame that was sent, in sixteenths, adapted since then.
    reference: Vec<i32>,
    current: Vec<i32>,
    sums: Vec<u32>,
    /// Times that never go backwards.
    passed_at: Option<SignedDuration>,
    strongly_moved_at: Option<SignedDuration>,
    adopted_at: SignedDuration,
}

impl Gate {
    /// Whether the frame with this luma plane shows something new, and is to be sent.
    pub fn passes(&mut self, luma: &[u8], size: (usize, usize), time: SignedDuration) -> bool {
        self.reduce(luma, size);
        let change = if self.size == size { self.largest_change() } else { i32::MAX };
        // The first frame of a source is no movement.
        if change >= STRONG_CHANGE && self.passed_at.is_some() {
            self.strongly_moved_at = Some(time);
        }
        // A clock that was set back is no reason to skip.
        let is_over = |since: Option<SignedDuration>, limit| {
            since.is_none_or(|since| time < since || time.saturating_sub(since) >= limit)
        };
        let passes = change >= CHANGE || !is_over(self.strongly_moved_at, HOLD) || is_over(self.passed_at, REFRESH);
        if passes {
            self.size = size;
            std::mem::swap(&mut self.reference, &mut self.current);
            self.passed_at = Some(time);
            self.adopted_at = time;
        } else {
            self.adopt(time);
        }
        passes
    }

    /// Sends the next frame, whatever it shows: one that was to be sent is lost.
    pub const fn send_next(&mut self) {
        self.passed_at = None;
    }

    /// The means of all blocks of the frame into `current`.
    fn reduce(&mut self, luma: &[u8], (width, height): (usize, usize)) {
        let side = BLOCK * (width / WIDTH).max(1);
        let (columns, rows) = (width / side, height / side);
        self.current.clear();
        self.sums.resize(columns * side, 0);
        let area = (side * side) as u32;
        for row in 0..rows {
            self.sums.fill(0);
            for line in luma[row * side * width..].chunks_exact(width).take(side) {
                self.sums.iter_mut().zip(line).for_each(|(sum, byte)| *sum += u32::from(*byte));
            }
            let means = self.sums.chunks_exact(side).map(|block| {
                let sum: u32 = block.iter().sum();
                (sum * PARTS as u32 / area) as i32
            });
            self.current.extend(means);
        }
    }

    /// The change of the block that changed most, beside the change of light; the highest number for another image.
    fn largest_change(&self) -> i32 {
        if self.current.len() != self.reference.len() || self.current.is_empty() {
            return i32::MAX;
        }
        let light = self.change_of_light();
        if light.abs() > OTHER_IMAGE {
            return i32::MAX;
        }
        let changes = self.current.iter().zip(&self.reference).map(|(now, before)| (now - before - light).abs());
        changes.max().unwrap_or(i32::MAX)
    }

    /// The median change of the blocks: most of an image stands still.
    fn change_of_light(&self) -> i32 {
        let mut changes: Vec<i32> =
            self.current.iter().zip(&self.reference).map(|(now, before)| now - before).collect();
        let middle = changes.len() / 2;
        *changes.select_nth_unstable(middle).1
    }

    fn adopt(&mut self, time: SignedDuration) {
        // Sixteenths of a level for the time since the last adoption.
        let part = ADOPTION / PARTS;
        let elapsed = time.saturating_sub(self.adopted_at);
        let steps = elapsed.as_nanos() / part.as_nanos().max(1);
        let step = i32::try_from(steps.clamp(0, i128::from(PARTS))).unwrap_or(PARTS);
        if step == 0 {
            return;
        }
        for (before, now) in self.reference.iter_mut().zip(&self.current) {
            *before += (now - *before).clamp(-step, step);
        }
        self.adopted_at = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (640, 360);

    /// A grey image with some texture, noise that depends on `seed`, and a square.
    fn image(light: i32, seed: u64, square: Option<(usize, usize, usize)>) -> Vec<u8> {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut pixels = Vec::with_capacity(SIZE.0 * SIZE.1);
        for y in 0..SIZE.1 {
            for x in 0..SIZE.0 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let noise = (random % 13) as i32 - 6;
                let texture = ((x / 20 + y / 30) % 5) as i32 * 12;
                let inside = square.is_some_and(|(left, top, side)| {
                    (left..left + side).contains(&x) && (top..top + side).contains(&y)
                });
                let value = if inside { 170 } else { 90 + texture };
                pixels.push((value + light + noise).clamp(0, 255) as u8);
            }
        }
        pixels
    }

    fn ms(milliseconds: i64) -> SignedDuration {
        SignedDuration::from_millis(milliseconds)
    }

    #[test]
    fn a_still_scene_passes_once_in_a_refresh() {
        let mut gate = Gate::default();
        let passed = (0..100).filter(|n| gate.passes(&image(0, *n, None), SIZE, ms(*n as i64 * 200))).count();
        assert_eq!(passed, 4, "20 s have four refreshes");
    }

    #[test]
    fn light_that_changes_everywhere_is_no_movement() {
        let mut gate = Gate::default();
        gate.passes(&image(0, 1, None), SIZE, ms(0));
        let passed = (1..20).filter(|n| gate.passes(&image(*n as i32, *n, None), SIZE, ms(*n as i64 * 200))).count();
        assert_eq!(passed, 0);
        assert!(gate.passes(&image(90, 50, None), SIZE, ms(4200)), "somebody switched the light on");
    }

    #[test]
    fn a_small_object_passes_when_it_appears_moves_and_leaves() {
        let mut gate = Gate::default();
        gate.passes(&image(0, 1, None), SIZE, ms(0));
        let side = 24;
        assert!(gate.passes(&image(0, 2, Some((300, 200, side))), SIZE, ms(1000)));
        assert!(!gate.passes(&image(0, 3, Some((300, 200, side))), SIZE, ms(1400)));
        assert!(gate.passes(&image(0, 4, Some((312, 200, side))), SIZE, ms(2000)));
        assert!(gate.passes(&image(0, 5, None), SIZE, ms(3000)));
    }

    #[test]
    fn frames_pass_for_a_moment_after_a_strong_movement() {
        let mut gate = Gate::default();
        gate.passes(&image(0, 1, None), SIZE, ms(0));
        let square = Some((300, 200, 24));
        assert!(gate.passes(&image(0, 2, square), SIZE, ms(1000)));
        let passed = [1040, 1200, 1280, 1320, 1400].map(|time| gate.passes(&image(0, 3, square), SIZE, ms(time)));
        assert_eq!(passed, [true, true, true, false, false]);
        // A change that is only just movement passes, and no frame after it.
        let light_square = |n: i64| {
            let mut pixels = image(0, 4, square);
            (200..224).for_each(|y| pixels[y * SIZE.0..][300..324].iter_mut().for_each(|pixel| *pixel += 20 * n as u8));
            pixels
        };
        assert!(gate.passes(&light_square(1), SIZE, ms(2000)));
        assert!(!gate.passes(&light_square(1), SIZE, ms(2040)));
    }

    #[test]
    fn slow_movement_adds_up() {
        let mut gate = Gate::default();
        gate.passes(&image(0, 1, Some((300, 200, 24))), SIZE, ms(0));
        // Two pixels a second.
        let first = (1..25).find(|n| {
            let left = 300 + *n as usize * 2 / 5;
            gate.passes(&image(0, *n, Some((left, 200, 24))), SIZE, ms(*n as i64 * 200))
        });
        assert!(first.is_some_and(|n| n <= 20), "{first:?}: after half of its width at the latest");
    }

    #[test]
    fn another_size_passes() {
        let mut gate = Gate::default();
        let pixels = vec![90; 640 * 360];
        assert!(gate.passes(&pixels, (640, 360), ms(0)));
        assert!(!gate.passes(&pixels, (640, 360), ms(40)));
        assert!(gate.passes(&pixels, (360, 640), ms(80)));
        assert!(gate.passes(&[1; 12], (4, 3), ms(120)), "too small to judge");
        // After the hold, and before the refresh.
        assert!(gate.passes(&[1; 12], (4, 3), ms(1000)));
    }

    #[test]
    fn after_a_lost_frame_the_next_one_passes() {
        let mut gate = Gate::default();
        let pixels = vec![90; 640 * 360];
        assert!(gate.passes(&pixels, SIZE, ms(0)));
        assert!(!gate.passes(&pixels, SIZE, ms(40)));
        gate.send_next();
        assert!(gate.passes(&pixels, SIZE, ms(80)));
        assert!(!gate.passes(&pixels, SIZE, ms(120)));
    }
}
