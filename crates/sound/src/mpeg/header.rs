//! The header of an MPEG audio frame: four bytes that give its length and duration.

/// The versions that have other tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MPEG-1: 32 to 48 kHz.
    One,
    /// MPEG-2: 16 to 24 kHz.
    Two,
    /// The unofficial MPEG-2.5: 8 to 12 kHz.
    TwoAndHalf,
}

/// The layers of audio files. Layer I is in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// MP2.
    Two,
    /// MP3.
    Three,
}

/// A valid header with a declared bit rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub word: [u8; 4],
    pub version: Version,
    pub layer: Layer,
    /// Bits a second.
    pub bit_rate: u32,
    /// Samples a second of one channel.
    pub sample_rate: u32,
    pub mono: bool,
    pub checked: bool,
    /// Length of the frame with its header, at most [`Header::LONGEST`].
    pub bytes: usize,
}

/// Kilobits a second by index, from 1 to 14.
const VERSION_1_LAYER_3: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const VERSION_1_LAYER_2: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const VERSION_2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

impl Header {
    /// No frame of layers II and III is longer: layer II of 160 kbit/s at 8 kHz, with its padding.
    pub(crate) const LONGEST: usize = 2_881;

    /// The header in four bytes, if they are one.
    pub(crate) fn parse(word: [u8; 4]) -> Option<Self> {
        let [first, second, third, fourth] = word;
        if first != 0xff || second & 0xe0 != 0xe0 || fourth & 3 == 2 {
            return None;
        }
        let version = match second >> 3 & 3 {
            0 => Version::TwoAndHalf,
            2 => Version::Two,
            3 => Version::One,
            _ => return None,
        };
        let layer = match second >> 1 & 3 {
            1 => Layer::Three,
            2 => Layer::Two,
            _ => return None,
        };
        let rates = match (version, layer) {
            (Version::One, Layer::Three) => &VERSION_1_LAYER_3,
            (Version::One, Layer::Two) => &VERSION_1_LAYER_2,
            _ => &VERSION_2,
        };
        let bit_rate = rates.get(usize::from(third >> 4).checked_sub(1)?)? * 1000;
        let base = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
        let sample_rate = match version {
            Version::One => base,
            Version::Two => base / 2,
            Version::TwoAndHalf => base / 4,
        };
        let slots = if layer == Layer::Three && version != Version::One { 72 } else { 144 };
        let bytes = (slots * bit_rate / sample_rate + u32::from(third >> 1 & 1)) as usize;
        let (mono, checked) = (fourth >> 6 == 3, second & 1 == 0);
        Some(Self { word, version, layer, bit_rate, sample_rate, mono, checked, bytes })
    }

    /// Samples of one channel in the frame.
    pub(crate) fn samples(&self) -> u64 {
        if self.layer == Layer::Three && self.version != Version::One { 576 } else { 1152 }
    }

    /// Whether both can be in one stream. Bit rate and channel mode may change.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        (self.version, self.layer, self.sample_rate) == (other.version, other.layer, other.sample_rate)
    }

    /// Where the side information of layer III begins.
    pub(crate) fn side_start(&self) -> usize {
        if self.checked { 6 } else { 4 }
    }

    /// Length of the side information of layer III.
    pub(crate) fn side_bytes(&self) -> usize {
        match (self.version, self.mono) {
            (Version::One, false) => 32,
            (Version::One, true) | (_, false) => 17,
            (_, true) => 9,
        }
    }

    /// Whether the frame can be decoded without earlier frames, which may have a part of its data.
    pub(crate) fn is_whole(&self, frame: &[u8]) -> bool {
        match (self.version, frame.get(self.side_start()..)) {
            (Version::One, Some([first, second, ..])) => *first == 0 && second & 0x80 == 0,
            (_, Some([first, ..])) => *first == 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_gives_length_and_duration() {
        let header = Header::parse([0xff, 0xfb, 0x90, 0x64]).unwrap();
        assert_eq!((header.bit_rate, header.sample_rate, header.bytes), (128_000, 44_100, 417));
        assert_eq!((header.samples(), header.mono, header.side_bytes()), (1152, false, 32));
        let header = Header::parse([0xff, 0xf3, 0x84, 0xc4]).unwrap();
        assert_eq!((header.bit_rate, header.sample_rate, header.bytes), (64_000, 24_000, 192));
        assert_eq!((header.samples(), header.mono, header.side_bytes()), (576, true, 9));
    }

    #[test]
    fn every_word_is_a_bounded_frame_or_none() {
        let mut frames = 0;
        for second in 0..=255 {
            for third in 0..=255 {
                let Some(header) = Header::parse([0xff, second, third, 0]) else { continue };
                assert!((24..=Header::LONGEST).contains(&header.bytes), "{header:?}");
                frames += 1;
            }
        }
        assert_eq!(frames, 2 * 3 * 2 * 14 * 3 * 4);
    }

    #[test]
    fn free_and_reserved_values_are_no_header() {
        for word in [[0xff, 0xfb, 0x00, 0], [0xff, 0xfb, 0xf0, 0], [0xff, 0xfb, 0x9c, 0], [0xff, 0xeb, 0x90, 0]] {
            assert_eq!(Header::parse(word), None);
        }
    }
}
