//! Sounds that tests make.

use std::f32::consts::TAU;

/// Samples a second.
pub const RATE: usize = 16_000;

/// Nothing.
pub fn silence(seconds: usize) -> Vec<f32> {
    vec![0.0; seconds * RATE]
}

/// Noise of the same power at all frequencies.
pub fn noise(seconds: usize, loudness: f32) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..seconds * RATE).map(|_| loudness * (2.0 * random.f32() - 1.0)).collect()
}

/// Several tones at once.
pub fn tones(seconds: usize, hertz: &[f32]) -> Vec<f32> {
    let at = |sample: usize| {
        let time = sample as f32 / RATE as f32;
        hertz.iter().map(|hertz| (TAU * hertz * time).sin()).sum::<f32>() * 0.3 / hertz.len() as f32
    };
    (0..seconds * RATE).map(at).collect()
}

/// A melody of chords, each of half a second that fades.
pub fn music(seconds: usize) -> Vec<f32> {
    let roots = [220.0, 277.2, 329.6, 293.7];
    let chord = |number: usize| {
        let root: f32 = roots[number % roots.len()];
        let mut chord = tones(1, &[root, root * 1.26, root * 1.5]);
        chord.truncate(RATE / 2);
        for (index, sample) in chord.iter_mut().enumerate() {
            *sample *= (-4.0 * index as f32 / RATE as f32).exp();
        }
        chord
    };
    (0..seconds * 2).flat_map(chord).collect()
}

/// A WAV file of 16-bit samples, of one channel.
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let (rate, bytes) = (RATE as u32, samples.len() as u32 * 2);
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    for short in [1_u16, 1] {
        wav.extend(short.to_le_bytes());
    }
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * 2).to_le_bytes());
    for short in [2_u16, 16] {
        wav.extend(short.to_le_bytes());
    }
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()));
    wav
}
