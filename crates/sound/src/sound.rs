//! The facts of an audio file, and the limits that it must keep.

use std::time::Duration;

use crate::container::Container;

/// What an audio file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest duration.
    pub max_duration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_duration: Duration::from_secs(48 * 3600) }
    }
}

/// The codecs that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// MPEG audio layer III.
    Mp3,
    /// AAC-LC of one or two channels.
    Aac,
    /// Apple Lossless.
    Alac,
    /// FLAC, also within Ogg, MP4 and Matroska.
    Flac,
    /// Vorbis.
    Vorbis,
    /// Uncompressed samples, A-law or µ-law.
    Pcm,
    /// Four bits a sample.
    Adpcm,
}

impl Codec {
    /// The name, such as `mp3`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Aac => "aac",
            Self::Alac => "alac",
            Self::Flac => "flac",
            Self::Vorbis => "vorbis",
            Self::Pcm => "pcm",
            Self::Adpcm => "adpcm",
        }
    }

    /// The codec of a decoder, by the short name that the decoder has.
    pub(crate) fn of_decoder(name: &str) -> Option<Self> {
        match name {
            "mp3" => Some(Self::Mp3),
            "aac" => Some(Self::Aac),
            "alac" => Some(Self::Alac),
            "flac" => Some(Self::Flac),
            "vorbis" => Some(Self::Vorbis),
            name if name.starts_with("pcm") => Some(Self::Pcm),
            name if name.starts_with("adpcm") => Some(Self::Adpcm),
            _ => None,
        }
    }
}

/// What an audio file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// The format of the file.
    pub container: Container,
    /// The codec of its sound.
    pub codec: Codec,
    /// Channels, 1 to 8.
    pub channels: u16,
    /// Samples a second of one channel, 4,000 to 192,000.
    pub sample_rate: u32,
    /// How long it plays.
    pub duration: Duration,
    /// The title in its tags, one line of at most 256 characters.
    pub title: Option<String>,
    /// The artist in its tags, one line of at most 256 characters.
    pub artist: Option<String>,
}

/// Title and artist, as the tags have them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    pub title: Option<String>,
    pub artist: Option<String>,
}

/// The text of a tag on one line, of at most 256 characters; nothing if none is left.
pub(crate) fn tag_text(text: &str) -> Option<String> {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(256).collect();
    let line = line.trim_end().to_owned();
    (!line.is_empty()).then_some(line)
}

/// The duration of a number of samples.
pub(crate) fn duration_of(samples: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    Duration::from_secs(samples / rate) + Duration::from_nanos(samples % rate * 1_000_000_000 / rate)
}

/// The number of samples in a duration, the nearest one: the inverse of [`duration_of`].
pub(crate) fn samples_in(duration: Duration, rate: u32) -> u64 {
    let samples = (duration.as_nanos() * u128::from(rate) + 500_000_000) / 1_000_000_000;
    u64::try_from(samples).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_short_line() {
        assert_eq!(tag_text(" Sense\r\n and\tSensibility\0"), Some("Sense and Sensibility".to_owned()));
        assert_eq!(tag_text(" \0\n"), None);
        assert_eq!(tag_text(&"x".repeat(1000)).map(|line| line.len()), Some(256));
    }

    #[test]
    fn samples_and_durations_convert_both_ways() {
        assert_eq!(duration_of(44_100, 44_100), Duration::from_secs(1));
        assert_eq!(samples_in(Duration::from_millis(500), 44_100), 22_050);
        assert_eq!(duration_of(u64::MAX, 1).as_secs(), u64::MAX);
        assert_eq!(samples_in(Duration::MAX, 192_000), u64::MAX);
        for samples in (0..1_000_000).step_by(997) {
            assert_eq!(samples_in(duration_of(samples, 11_025), 11_025), samples);
        }
    }
}
