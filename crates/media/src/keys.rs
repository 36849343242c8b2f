//! Keys of checkpoints: a hash of everything that a result follows from. The same sound in another book, or after another upload, has the same
//! key; another model, language or gate has another one.

use sha2::{Digest, Sha256};

/// What the text of a window follows from.
#[derive(Debug, Clone, Copy)]
pub struct WindowKey<'a> {
    /// The sound: 16 kHz, mono.
    pub pcm: &'a [f32],
    /// The kind of the provider, such as `whisper`.
    pub kind: &'a str,
    /// The model, as the hash of its file or as its name.
    pub model: &'a str,
    /// The language that was asked for.
    pub language: Option<&'a str>,
    /// What else was asked for, in a form that is always written alike.
    pub parameters: &'a str,
    /// Version of the gate that the text has passed.
    pub gate: u32,
}

/// Version of the keys. Another one makes every result new.
const VERSION: u32 = 1;
/// Samples that are hashed at once.
const BLOCK: usize = 4_096;

impl WindowKey<'_> {
    /// The key.
    pub fn key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"window");
        hash.update(VERSION.to_le_bytes());
        hash.update((self.pcm.len() as u64).to_le_bytes());
        let mut bytes = Vec::with_capacity(BLOCK * 2);
        for block in self.pcm.chunks(BLOCK) {
            bytes.clear();
            bytes.extend(block.iter().flat_map(|sample| sixteen_bits(*sample).to_le_bytes()));
            hash.update(&bytes);
        }
        hash.update(self.gate.to_le_bytes());
        for part in [self.kind, self.model, self.language.unwrap_or_default(), self.parameters] {
            add(&mut hash, part.as_bytes());
        }
        hash.finalize().into()
    }
}

/// A sample as files store it, so that what one decoder gives in the last bits does not matter.
fn sixteen_bits(sample: f32) -> i16 {
    // Within the range of the type. NaN becomes 0.
    (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16
}

/// The key of a result that follows from texts, such as one call of a language model.
pub fn text_key(kind: &str, model: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"text");
    hash.update(VERSION.to_le_bytes());
    for part in [kind.as_bytes(), model.as_bytes()].iter().chain(parts) {
        add(&mut hash, part);
    }
    hash.finalize().into()
}

/// Adds a part with its length before it, so that other parts never give the same bytes.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_follows_from_everything_that_the_text_does() {
        let pcm = [0.0, 0.5, -0.5];
        let key = WindowKey { pcm: &pcm, kind: "whisper", model: "ab", language: Some("en"), parameters: "", gate: 1 };
        let others = [
            WindowKey { pcm: &pcm[..2], ..key },
            WindowKey { pcm: &[0.0, 0.5, -0.4], ..key },
            WindowKey { kind: "whispe", model: "rab", ..key },
            WindowKey { language: None, ..key },
            WindowKey { parameters: "words", ..key },
            WindowKey { gate: 2, ..key },
        ];
        assert_eq!(key.key(), WindowKey { pcm: &[0.0, 0.500_000_1, -0.5], ..key }.key(), "the last bits do not matter");
        for other in others {
            assert_ne!(key.key(), other.key(), "{other:?}");
        }
    }

    #[test]
    fn parts_of_texts_are_not_run_together() {
        assert_eq!(text_key("map", "m", &[b"ab", b"c"]), text_key("map", "m", &[b"ab", b"c"]));
        assert_ne!(text_key("map", "m", &[b"ab", b"c"]), text_key("map", "m", &[b"a", b"bc"]));
        assert_ne!(text_key("map", "m", &[b"ab", b"c"]), text_key("reduce", "m", &[b"ab", b"c"]));
    }

    #[test]
    fn samples_out_of_range_are_the_loudest_ones() {
        assert_eq!([2.0, -2.0, f32::NAN, f32::INFINITY].map(sixteen_bits), [32_767, -32_767, 0, 32_767]);
    }
}
