//! Bytes for the tests of this crate: files that `samples/make` made, and some that are made here.

use std::io::Cursor;
use std::time::Duration;

use crate::{Block, Decoder, Limits, Preview, Sound, SoundError, preview, probe};

/// A file of `crates/sound/samples`.
macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/", $name)).as_slice()
    };
}
pub(crate) use sample;

/// MP3 frames of silence: 128 kbit/s, 44.1 kHz, stereo.
pub(crate) fn silent_mp3(frames: usize) -> Vec<u8> {
    let mut frame = vec![0; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x64]);
    frame.repeat(frames)
}

/// An ID3v2.4 tag of these frames.
pub(crate) fn id3(frames: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in frames {
        body.extend_from_slice(*name);
        body.extend_from_slice(&[0, 0, 0, content.len() as u8, 0, 0]);
        body.extend_from_slice(content);
    }
    let mut tag = b"ID3\x04\0\0\0\0".to_vec();
    tag.extend_from_slice(&[(body.len() >> 7) as u8, (body.len() & 0x7f) as u8]);
    tag.append(&mut body);
    tag
}

/// A box of an MP4.
pub(crate) fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = (content.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend_from_slice(kind);
    bytes.extend_from_slice(content);
    bytes
}

/// A WAV file of 16 bits with a tone of 440 Hz in each channel.
pub(crate) fn wav(rate: u32, channels: u16, samples: u32) -> Vec<u8> {
    let block = channels * 2;
    let data = samples * u32::from(block);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend_from_slice(&(data + 36).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
    bytes.extend_from_slice(&channels.to_le_bytes());
    bytes.extend_from_slice(&rate.to_le_bytes());
    bytes.extend_from_slice(&(rate * u32::from(block)).to_le_bytes());
    bytes.extend_from_slice(&block.to_le_bytes());
    bytes.extend_from_slice(b"\x10\0data");
    bytes.extend_from_slice(&data.to_le_bytes());
    for number in 0..samples {
        let angle = std::f64::consts::TAU * 440.0 * f64::from(number) / f64::from(rate);
        let sample = (angle.sin() * 10_000.0) as i16;
        for _ in 0..channels {
            bytes.extend_from_slice(&sample.to_le_bytes());
        }
    }
    bytes
}

/// [`probe`] with the usual limits.
pub(crate) fn probed(bytes: &[u8]) -> Result<Sound, SoundError> {
    probe(Cursor::new(bytes.to_vec()), bytes.len() as u64, &Limits::default())
}

/// The code of the refusal, or `accepted`.
pub(crate) fn code(bytes: &[u8]) -> &'static str {
    match probed(bytes) {
        Ok(_) => "accepted",
        Err(error) => error.refusal().map_or("source", crate::Refusal::code),
    }
}

/// A decoder at the start of the file.
pub(crate) fn decoder(bytes: &[u8]) -> Decoder {
    let sound = probed(bytes).unwrap();
    Decoder::open(Cursor::new(bytes.to_vec()), bytes.len() as u64, &sound).unwrap()
}

/// All samples from where the decoder stands.
pub(crate) fn samples_of(decoder: &mut Decoder) -> Vec<f32> {
    let mut samples = Vec::new();
    let mut next = None;
    while let Some(Block { start, samples: block }) = decoder.next_block().unwrap() {
        assert_eq!(next.unwrap_or(start), start, "a gap between blocks");
        next = Some(start + block.len() as u64);
        samples.extend(block);
    }
    samples
}

/// [`preview`] of milliseconds.
pub(crate) fn previewed(bytes: &[u8], at: u64, length: u64) -> Preview {
    let sound = probed(bytes).unwrap();
    let (at, length) = (Duration::from_millis(at), Duration::from_millis(length));
    preview(Cursor::new(bytes.to_vec()), bytes.len() as u64, &sound, at, length).unwrap()
}
