//! Sound files for tests.

/// Samples a second.
const RATE: u32 = 16_000;

/// A WAV file of a tone: 16 bits, one channel.
pub fn wav(seconds: u32) -> Vec<u8> {
    let samples = RATE * seconds;
    let data: Vec<u8> = (0..samples).flat_map(|n| sample(n).to_le_bytes()).collect();
    let length = u32::try_from(data.len()).unwrap();
    let mut file = Vec::with_capacity(data.len() + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(RATE * 2).to_le_bytes());
    file.extend_from_slice(&2_u16.to_le_bytes());
    file.extend_from_slice(&16_u16.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&data);
    file
}

/// A tone of 440 Hz.
fn sample(n: u32) -> i16 {
    let angle = f64::from(n % RATE) * 440.0 * std::f64::consts::TAU / f64::from(RATE);
    (angle.sin() * 8_000.0) as i16
}
