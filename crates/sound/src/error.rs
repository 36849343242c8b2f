//! Why a file gives no sound: refusals, which are permanent, and failures of the source, which are not.

use std::io;
use std::time::Duration;

use symphonia::core::errors::Error as DecoderError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// The same bytes are refused again.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The bytes could not be read; another try may succeed.
    #[error("cannot read the bytes of the sound")]
    Source(#[source] io::Error),
}

impl SoundError {
    /// The refusal, unless the source failed.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Source(_) => None,
        }
    }
}

impl From<io::Error> for SoundError {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

/// Why a file is refused. Its text is one line and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No known audio format: empty, a text, an image.
    #[error("not an audio file; use MP3, M4A, M4B, FLAC, WAV, Ogg, AAC or Matroska")]
    NotAudio,
    /// The file is protected (DRM).
    #[error("the file is encrypted; use a copy without copy protection")]
    Encrypted,
    /// Container, codec or a feature of it is known and not supported.
    #[error("{codec} is not supported; convert the file to MP3, AAC-LC or FLAC")]
    CodecUnsupported {
        /// What is not supported.
        codec: String,
    },
    /// The file ends before what its header announces.
    #[error("the file is truncated: {missing}; use the whole file")]
    Truncated {
        /// What is missing.
        missing: String,
    },
    /// The sound is longer than the limit.
    #[error("the sound of {} minutes is longer than the limit of {} minutes; split it", minutes(.duration), minutes(.limit))]
    TooLong {
        /// The duration of the file.
        duration: Duration,
        /// The longest allowed duration.
        limit: Duration,
    },
    /// A container without a sound track, or without one sample in it.
    #[error("the file has no sound")]
    NoSound,
    /// The format is supported, but nothing can be decoded.
    #[error("the sound is damaged: {cause}; encode the file again")]
    Damaged {
        /// The decoder's error.
        cause: String,
    },
}

impl Refusal {
    /// The stable code, such as `not_audio`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAudio => "not_audio",
            Self::Encrypted => "encrypted",
            Self::CodecUnsupported { .. } => "codec_unsupported",
            Self::Truncated { .. } => "truncated",
            Self::TooLong { .. } => "too_long",
            Self::NoSound => "no_sound",
            Self::Damaged { .. } => "damaged",
        }
    }

    /// A codec, container or feature that is not supported.
    pub(crate) fn unsupported(codec: &str) -> Self {
        Self::CodecUnsupported { codec: codec.to_owned() }
    }

    /// Bytes that no decoder accepts.
    pub(crate) fn damaged(cause: &str) -> Self {
        Self::Damaged { cause: cause.to_owned() }
    }
}

/// The error of a demuxer or decoder, as one of this crate. The source remembers its own failures, which come first.
pub(crate) fn of_decoder(error: &DecoderError) -> Refusal {
    match error {
        DecoderError::Unsupported(feature) => Refusal::unsupported(feature),
        DecoderError::IoError(_) => Refusal::Truncated { missing: "its bytes end within a header".to_owned() },
        DecoderError::DecodeError(cause) | DecoderError::LimitError(cause) => Refusal::damaged(cause),
        _ => Refusal::damaged("its parts do not fit together"),
    }
}

fn minutes(duration: &Duration) -> u64 {
    duration.as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_in_one_line_what_to_do() {
        let hour = Duration::from_secs(3600);
        let refusals = [
            Refusal::NotAudio,
            Refusal::Encrypted,
            Refusal::unsupported("Opus"),
            Refusal::Truncated { missing: "the index".to_owned() },
            Refusal::TooLong { duration: 2 * hour, limit: hour },
            Refusal::NoSound,
            Refusal::damaged("no frame"),
        ];
        for refusal in &refusals {
            let text = refusal.to_string();
            assert!(!text.contains('\n') && text.len() < 300, "{text}");
        }
        assert_eq!(
            refusals[4].to_string(),
            "the sound of 120 minutes is longer than the limit of 60 minutes; split it"
        );
        let codes: std::collections::BTreeSet<_> = refusals.iter().map(Refusal::code).collect();
        assert_eq!(codes.len(), refusals.len());
    }
}
