//! Another sample rate for one channel, by a bank of windowed sinc filters.
//!
//! Sample `n` of the output depends on its number and on the input around its time, and on nothing else. So the output is the same
//! wherever blocks end and wherever reading begins, which checkpoints of windows need. Crates for resampling work in chunks whose
//! edges show in the output; so this is one of ours.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side: the width of the filter.
const CROSSINGS: f64 = 24.0;

/// The part of the band that is kept. The rest is the slope of the filter.
const BAND: f64 = 0.94;

/// More filters than this are not made; the nearest one is taken. Only odd rates need so many.
const MAX_PHASES: u64 = 4096;

/// A converter of a stream of samples.
pub(crate) struct Resampler {
    /// `up / down` is the ratio of the rates, in lowest terms.
    up: u64,
    down: u64,
    /// Half of the taps of a filter.
    half: usize,
    phases: u64,
    bank: Vec<f32>,
    /// The number of the next sample of the output.
    next: u64,
    /// The input that is still needed, and the number of its first sample.
    input: Vec<f32>,
    first: i64,
}

impl Resampler {
    pub(crate) fn new(from: u32, to: u32) -> Self {
        let (from, to) = (u64::from(from.max(1)), u64::from(to.max(1)));
        let divisor = gcd(from, to);
        let (up, down) = (to / divisor, from / divisor);
        let ratio = (up as f64 / down as f64).min(1.0);
        // A multiple of four, so that the taps are one of eight.
        let half = ((CROSSINGS / ratio / 4.0).ceil() as usize) * 4;
        let phases = up.min(MAX_PHASES);
        let bank = if up == down { Vec::new() } else { bank(phases, half, ratio * BAND) };
        let mut resampler = Self { up, down, half, phases, bank, next: 0, input: Vec::new(), first: 0 };
        resampler.restart(0);
        resampler
    }

    /// Starts again at sample `next` of the output. Returns the first sample of the input that is needed.
    pub(crate) fn restart(&mut self, next: u64) -> u64 {
        self.next = next;
        self.first = self.first_for(next);
        self.input.clear();
        // Before the start of the sound is silence.
        self.input.resize(usize::try_from(-self.first).unwrap_or(0), 0.0);
        self.first.unsigned_abs() * u64::from(self.first > 0)
    }

    /// Adds input, and appends the output that it completes.
    pub(crate) fn push(&mut self, samples: &[f32], output: &mut Vec<f32>) {
        if self.bank.is_empty() {
            output.extend_from_slice(samples);
            self.next += samples.len() as u64;
            return;
        }
        self.input.extend_from_slice(samples);
        let taps = 2 * self.half;
        let mut start = self.start();
        while let Some(input) = self.input.get(start..start + taps) {
            let phase = self.next * self.down % self.up * self.phases / self.up;
            let phase = usize::try_from(phase).unwrap_or(0) * taps;
            output.push(dot(input, &self.bank[phase..phase + taps]));
            self.next += 1;
            start = self.start();
        }
        let done = start.min(self.input.len());
        self.input.drain(..done);
        self.first += i64::try_from(done).unwrap_or(0);
    }

    /// Appends the rest of the output after `total` samples of input from the start of the sound.
    pub(crate) fn finish(&mut self, total: u64, output: &mut Vec<f32>) {
        if self.bank.is_empty() {
            return;
        }
        let until = (total * self.up).div_ceil(self.down);
        let length = output.len() + usize::try_from(until.saturating_sub(self.next)).unwrap_or(0);
        self.push(&vec![0.0; 2 * self.half], output);
        output.truncate(length);
    }

    /// Where the input of the next sample begins in `input`.
    fn start(&self) -> usize {
        usize::try_from(self.first_for(self.next) - self.first).unwrap_or(0)
    }

    fn first_for(&self, next: u64) -> i64 {
        if self.bank.is_empty() {
            return i64::try_from(next).unwrap_or(i64::MAX);
        }
        let centre = i64::try_from(next * self.down / self.up).unwrap_or(i64::MAX);
        centre + 1 - i64::try_from(self.half).unwrap_or(0)
    }
}

/// The filters, one after the other; each for another place between two samples of the input.
fn bank(phases: u64, half: usize, cutoff: f64) -> Vec<f32> {
    let mut bank = Vec::new();
    for phase in 0..phases {
        let place = phase as f64 / phases as f64;
        let filter: Vec<f64> = (0..2 * half)
            .map(|tap| {
                let distance = tap as f64 - (half as f64 - 1.0) - place;
                sinc(cutoff * distance) * blackman(distance / half as f64)
            })
            .collect();
        let sum: f64 = filter.iter().sum();
        bank.extend(filter.iter().map(|tap| (tap / sum) as f32));
    }
    bank
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Blackman window over -1 to 1.
fn blackman(x: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { 0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos() }
}

/// The sum of products, in eight parts that the compiler computes at once.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for (left, right) in left.chunks_exact(8).zip(right.chunks_exact(8)) {
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += left * right;
        }
    }
    sums.iter().sum()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f64, count: usize) -> Vec<f32> {
        (0..count).map(|number| (2.0 * PI * hertz * number as f64 / f64::from(rate)).sin() as f32 * 0.5).collect()
    }

    fn resample(from: u32, to: u32, input: &[f32], block: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to);
        let mut output = Vec::new();
        for block in input.chunks(block) {
            resampler.push(block, &mut output);
        }
        resampler.finish(input.len() as u64, &mut output);
        output
    }

    fn worst(left: &[f32], right: &[f32]) -> f32 {
        left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_keeps_its_pitch_phase_and_length() {
        for rate in [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 44_101] {
            let output = resample(rate, 16_000, &tone(rate, 440.0, rate as usize), 1152);
            assert_eq!(output.len(), 16_000, "{rate} Hz");
            let expected = tone(16_000, 440.0, 16_000);
            let inside = 200..15_800;
            let error = worst(&output[inside.clone()], &expected[inside]);
            assert!(error < 0.002, "{rate} Hz: {error}");
        }
    }

    #[test]
    fn what_the_new_rate_cannot_hold_is_removed() {
        let output = resample(48_000, 16_000, &tone(48_000, 11_000.0, 48_000), 999);
        assert!(worst(&output[200..15_800], &[0.0; 15_600]) < 0.002);
    }

    #[test]
    fn the_output_does_not_depend_on_blocks_or_the_start() {
        let input = tone(44_100, 300.0, 44_100);
        let whole = resample(44_100, 16_000, &input, 44_100);
        assert_eq!(resample(44_100, 16_000, &input, 7), whole);
        for next in [1_u64, 40, 1_000, 12_345] {
            let mut resampler = Resampler::new(44_100, 16_000);
            let first = resampler.restart(next);
            let mut output = Vec::new();
            resampler.push(&input[first as usize..], &mut output);
            resampler.finish(44_100, &mut output);
            assert_eq!(output, whole[next as usize..]);
        }
    }

    #[test]
    fn an_equal_rate_changes_nothing() {
        let input = tone(16_000, 300.0, 1000);
        assert_eq!(resample(16_000, 16_000, &input, 64), input);
    }
}
