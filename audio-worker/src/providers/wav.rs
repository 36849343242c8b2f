//! A window of speech as a WAV file: 16 bits, mono, 16 kHz, which every server reads.

/// Samples in a second.
const RATE: u32 = 16_000;
/// Bytes before the samples.
const HEAD: usize = 44;
/// Bytes of a sample.
const SAMPLE: usize = 2;

/// Bytes of the file of this many samples.
pub(super) const fn size(samples: usize) -> u64 {
    (HEAD + samples * SAMPLE) as u64
}

/// The file with these samples, from -1 to 1.
pub(super) fn file(samples: &[f32]) -> Vec<u8> {
    // A window has at most some minutes; longer ones would be cut, and not be a wrong file.
    let samples = &samples[..samples.len().min((u32::MAX as usize - HEAD) / SAMPLE)];
    let bytes = u32::try_from(samples.len() * SAMPLE).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(HEAD + samples.len() * SAMPLE);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(bytes + HEAD as u32 - 8).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(RATE * SAMPLE as u32).to_le_bytes());
    file.extend_from_slice(&(SAMPLE as u16).to_le_bytes());
    file.extend_from_slice(&(SAMPLE as u16 * 8).to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&bytes.to_le_bytes());
    for sample in samples {
        let scaled = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round();
        // Within the range, and 0 for what is no number.
        file.extend_from_slice(&(scaled as i16).to_le_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_pcm_of_16_bits_at_16_khz() {
        let file = file(&[0.0, 1.0, -1.0, 2.0, f32::NAN]);
        assert_eq!(file.len() as u64, size(5));
        assert_eq!(&file[..4], b"RIFF");
        assert_eq!(u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize, file.len() - 8);
        assert_eq!(&file[8..16], b"WAVEfmt ");
        assert_eq!(u32::from_le_bytes(file[24..28].try_into().unwrap()), 16_000);
        assert_eq!(u32::from_le_bytes(file[40..44].try_into().unwrap()), 10);
        let samples: Vec<i16> = file[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(samples, [0, i16::MAX, -i16::MAX, i16::MAX, 0]);
    }
}
