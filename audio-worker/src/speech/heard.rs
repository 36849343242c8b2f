//! What an engine heard in a window, before anybody judges it. The answer of every engine is turned into this.

use std::time::Duration;

use contracts::{TranscriptFlag, TranscriptSegment, TranscriptWord};

/// The words of a window. Times are from the start of the window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heard {
    /// The language, as its code of ISO 639-1, where the engine tells it.
    pub language: Option<String>,
    /// In the order of time.
    pub segments: Vec<HeardSegment>,
}

/// Some words in a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeardSegment {
    /// Its start.
    pub start: Duration,
    /// Its end.
    pub end: Duration,
    /// The words.
    pub text: String,
    /// The time of each word, where the engine tells it.
    pub words: Vec<HeardWord>,
    /// What the engine says about its own work.
    pub measures: Measures,
}

/// A word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeardWord {
    /// Its start.
    pub start: Duration,
    /// Its end.
    pub end: Duration,
    /// The word, with its punctuation.
    pub text: String,
}

/// What an engine says about its own work. Engines differ in what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measures {
    /// Mean logarithm of the probability of the tokens.
    pub avg_logprob: Option<f32>,
    /// Probability that nobody speaks.
    pub no_speech_prob: Option<f32>,
    /// Bytes of the text, divided by its bytes after compression.
    pub compression_ratio: Option<f32>,
    /// The temperature of the attempt.
    pub temperature: Option<f32>,
}

impl Heard {
    /// The words, in one line.
    pub fn text(&self) -> String {
        let texts = self.segments.iter().map(|segment| segment.text.trim()).filter(|text| !text.is_empty());
        texts.collect::<Vec<_>>().join(" ")
    }

    /// The same with all times in the window, and without segments that have no words.
    ///
    /// Whisper's times may run past the end of a short window: it always sees half a minute.
    #[must_use]
    pub fn clamped(mut self, window: Duration) -> Self {
        self.segments.retain(|segment| !segment.text.trim().is_empty());
        for segment in &mut self.segments {
            clamp(&mut segment.start, &mut segment.end, (Duration::ZERO, window));
            let bounds = (segment.start, segment.end);
            for word in &mut segment.words {
                clamp(&mut word.start, &mut word.end, bounds);
            }
        }
        self
    }

    /// The segments of a transcript, for a window that begins `at` this time.
    pub fn into_segments(
        self,
        at: Duration,
        provider: &str,
        model: &str,
        flag: Option<TranscriptFlag>,
    ) -> Vec<TranscriptSegment> {
        let segment = |segment: HeardSegment| TranscriptSegment {
            start_ms: whole_ms(at + segment.start),
            end_ms: whole_ms(at + segment.end),
            text: one_line(&segment.text),
            words: segment.words.into_iter().map(|word| word.into_word(at)).collect(),
            provider: Some(provider.to_owned()),
            model: Some(model.to_owned()),
            flag,
        };
        self.segments.into_iter().map(segment).collect()
    }
}

impl HeardWord {
    fn into_word(self, at: Duration) -> TranscriptWord {
        TranscriptWord {
            start_ms: whole_ms(at + self.start),
            end_ms: whole_ms(at + self.end),
            text: one_line(&self.text),
        }
    }
}

fn clamp(start: &mut Duration, end: &mut Duration, (first, last): (Duration, Duration)) {
    *start = (*start).clamp(first, last);
    *end = (*end).clamp(*start, last);
}

/// Whole milliseconds, rounded.
pub(super) fn whole_ms(time: Duration) -> u64 {
    u64::try_from((time.as_micros() + 500) / 1000).unwrap_or(u64::MAX)
}

/// The words on one line. An engine may write anything, and a control character would steer a terminal or a player.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn segment(start: f64, end: f64, text: &str) -> HeardSegment {
        HeardSegment { start: seconds(start), end: seconds(end), text: text.to_owned(), ..HeardSegment::default() }
    }

    #[test]
    fn times_past_the_end_of_a_window_are_clamped() {
        let words = vec![HeardWord { start: seconds(10.5), end: seconds(12.4), text: "country.".to_owned() }];
        let last = HeardSegment { words, ..segment(8.0, 12.4, " your country.") };
        let heard = Heard { language: None, segments: vec![segment(12.5, 13.0, "late"), last, segment(0.0, 1.0, " ")] };
        let clamped = heard.clamped(seconds(11.0));
        let times: Vec<_> = clamped.segments.iter().map(|segment| (segment.start, segment.end)).collect();
        assert_eq!(times, [(seconds(11.0), seconds(11.0)), (seconds(8.0), seconds(11.0))]);
        assert_eq!(clamped.segments[1].words[0].end, seconds(11.0));
        assert_eq!(clamped.text(), "late your country.");
    }

    #[test]
    fn segments_have_the_time_of_the_recording() {
        let heard = Heard { language: None, segments: vec![segment(0.0604, 2.0, " Ask\n\u{1b}not\0. ")] };
        let segments = heard.into_segments(seconds(51.04), "here", "whisper-tiny.en", Some(TranscriptFlag::Loop));
        assert_eq!((segments[0].start_ms, segments[0].end_ms, &*segments[0].text), (51_100, 53_040, "Ask not."));
        assert_eq!((segments[0].provider.as_deref(), segments[0].flag), (Some("here"), Some(TranscriptFlag::Loop)));
    }
}
