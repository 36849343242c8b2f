//! A transcript: what is said in a recording, and when.
//!
//! It is stored and downloaded as JSON; plain text, `WebVTT` and `SubRip` are written from it. Times are whole milliseconds from the start of
//! the recording, so the same transcript is the same bytes. The format has a version and a golden file.

mod cues;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use cues::{subrip, webvtt};

/// A whole transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transcript {
    /// Version of the format: 1.
    pub version: u32,
    /// The language, as its code of ISO 639-1, such as `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Length of the recording in milliseconds.
    pub duration_ms: u64,
    /// What is said, in the order of time.
    pub segments: Vec<TranscriptSegment>,
}

/// Some words in a row: often a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TranscriptSegment {
    /// Its start.
    pub start_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// The words, in one line.
    pub text: String,
    /// The time of each word, where the engine tells it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<TranscriptWord>,
    /// The provider whose text this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why the text is doubtful.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<TranscriptFlag>,
}

/// A word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TranscriptWord {
    /// Its start.
    pub start_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// The word, with its punctuation.
    pub text: String,
}

/// Why a text is doubtful. It was kept, because no provider had a better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TranscriptFlag {
    /// It repeats itself so much that it compresses too well.
    Repetitive,
    /// The same few words come again and again.
    Loop,
    /// More is said than anybody can say in the time.
    TooFast,
    /// The engine itself believes that nobody speaks.
    NoSpeech,
    /// Its times are outside of the part of the recording that was sent.
    OutsideWindow,
    /// It is in another language than the recording.
    WrongLanguage,
}

/// A form of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TranscriptFormat {
    /// [`Transcript`] as JSON.
    Json,
    /// The words alone, a segment a line.
    Txt,
    /// `WebVTT`, the subtitles of the web.
    Vtt,
    /// `SubRip`, the subtitles of most players.
    Srt,
}

impl Transcript {
    /// The version that is written.
    pub const VERSION: u32 = 1;

    /// A transcript of this version.
    pub fn new(language: Option<String>, duration_ms: u64, segments: Vec<TranscriptSegment>) -> Self {
        Self { version: Self::VERSION, language, duration_ms, segments }
    }

    /// Reads a stored transcript.
    ///
    /// # Errors
    /// When it is not one, or of a later version.
    pub fn parse(json: &[u8]) -> Result<Self, TranscriptError> {
        let transcript: Self =
            serde_json::from_slice(json).map_err(|error| TranscriptError::Malformed(error.to_string()))?;
        if transcript.version > Self::VERSION {
            return Err(TranscriptError::Later { version: transcript.version });
        }
        Ok(transcript)
    }

    /// The words alone, in one line.
    pub fn text(&self) -> String {
        joined(self.segments.iter().map(|segment| &*segment.text), " ")
    }

    /// The transcript in one of its forms.
    pub fn render(&self, format: TranscriptFormat) -> String {
        match format {
            // A value of numbers and texts can always be written.
            TranscriptFormat::Json => serde_json::to_string(self).unwrap_or_default() + "\n",
            TranscriptFormat::Txt => joined(self.segments.iter().map(|segment| &*segment.text), "\n") + "\n",
            TranscriptFormat::Vtt => webvtt(&self.segments),
            TranscriptFormat::Srt => subrip(&self.segments),
        }
    }
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>, between: &str) -> String {
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(between)
}

/// Why a stored transcript is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// It is no transcript.
    #[error("it is not a transcript: {0}")]
    Malformed(String),
    /// A later release wrote it.
    #[error(
        "it has version {version} of the format, and this release reads {}; use the newer release",
        Transcript::VERSION
    )]
    Later {
        /// Its version.
        version: u32,
    },
}

impl TranscriptFlag {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repetitive => "repetitive",
            Self::Loop => "loop",
            Self::TooFast => "too_fast",
            Self::NoSpeech => "no_speech",
            Self::OutsideWindow => "outside_window",
            Self::WrongLanguage => "wrong_language",
        }
    }
}

impl fmt::Display for TranscriptFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TranscriptFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Json, Self::Txt, Self::Vtt, Self::Srt];

    /// The ending of a file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Txt => "txt",
            Self::Vtt => "vtt",
            Self::Srt => "srt",
        }
    }

    /// The Content-Type of a response.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Txt => "text/plain; charset=utf-8",
            Self::Vtt => "text/vtt; charset=utf-8",
            Self::Srt => "application/x-subrip; charset=utf-8",
        }
    }
}

impl FromStr for TranscriptFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.extension() == text);
        let known = Self::ALL.map(Self::extension).join(", ");
        found.ok_or_else(|| format!("a transcript is not written as {text:?}, but as {known}"))
    }
}

impl fmt::Display for TranscriptFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start_ms: u64, end_ms: u64, text: &str) -> TranscriptSegment {
        let (words, text) = (Vec::new(), text.to_owned());
        TranscriptSegment { start_ms, end_ms, text, words, provider: None, model: None, flag: None }
    }

    #[test]
    fn a_stored_transcript_is_read_again() {
        let word = TranscriptWord { start_ms: 300, end_ms: 500, text: "And".to_owned() };
        let first = TranscriptSegment {
            words: vec![word],
            provider: Some("here".to_owned()),
            model: Some("whisper-tiny.en".to_owned()),
            flag: Some(TranscriptFlag::TooFast),
            ..segment(300, 4_000, "And so, my fellow Americans")
        };
        let stored = Transcript::new(Some("en".to_owned()), 62_000, vec![first, segment(51_000, 62_000, "again")]);
        let json = stored.render(TranscriptFormat::Json);
        assert_eq!(Transcript::parse(json.as_bytes()), Ok(stored));
        assert!(json.contains(r#""flag":"too_fast""#) && !json.contains("null"), "{json}");
    }

    #[test]
    fn a_later_version_is_refused_and_a_further_field_is_not() {
        let of = |version: u32| format!(r#"{{"version":{version},"duration_ms":1,"segments":[],"mood":"calm"}}"#);
        assert!(Transcript::parse(of(1).as_bytes()).is_ok());
        assert_eq!(Transcript::parse(of(2).as_bytes()), Err(TranscriptError::Later { version: 2 }));
        assert!(matches!(Transcript::parse(b"{"), Err(TranscriptError::Malformed(_))));
    }

    #[test]
    fn text_has_a_line_for_each_segment_with_words() {
        let transcript =
            Transcript::new(None, 9_000, vec![segment(0, 1, "One."), segment(1, 2, ""), segment(2, 3, "Two.")]);
        assert_eq!(transcript.render(TranscriptFormat::Txt), "One.\nTwo.\n");
        assert_eq!(transcript.text(), "One. Two.");
    }

    #[test]
    fn the_name_of_a_flag_is_that_in_json() {
        use TranscriptFlag::*;
        for flag in [Repetitive, Loop, TooFast, NoSpeech, OutsideWindow, WrongLanguage] {
            assert_eq!(serde_json::to_value(flag).unwrap(), flag.as_str());
        }
        assert_eq!("srt".parse(), Ok(TranscriptFormat::Srt));
        assert!("doc".parse::<TranscriptFormat>().unwrap_err().contains("json, txt, vtt, srt"));
    }
}
