//! Recordings in the simplest form: a tone as 16-bit PCM in a WAV file.

use std::path::{Path, PathBuf};

/// A tone of so many seconds, on one channel.
pub fn wave(rate: u32, seconds: u32) -> Vec<u8> {
    let samples = rate * seconds;
    let bytes = samples * 2;
    let mut file = Vec::with_capacity(bytes as usize + 44);
    file.extend(b"RIFF");
    file.extend((bytes + 36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend([1, 0, 1, 0]);
    file.extend(rate.to_le_bytes());
    file.extend((rate * 2).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    for sample in 0..samples {
        // Two periods that never meet, so that no two blocks are alike.
        let tone = f64::from(sample) * 0.11;
        let value = 9000.0 * tone.sin() + 4000.0 * (tone * 0.618_034).sin();
        file.extend((value as i16).to_le_bytes());
    }
    file
}

fn write(folder: &Path, name: &str, content: Vec<u8>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A recording of two seconds.
pub fn small_file(folder: &Path, name: &str) -> PathBuf {
    write(folder, name, wave(8_000, 2))
}

/// A recording of four parts of 8 MiB.
pub fn part_file(folder: &Path, name: &str) -> PathBuf {
    write(folder, name, wave(96_000, 170))
}
