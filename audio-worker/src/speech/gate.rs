//! The gate: whether a text may have been invented. Engines for speech write fluent sentences about silence, and repeat themselves for ever.
//!
//! In: what any engine heard in one window. Out: the first fault. A text with a fault is asked for again, then another provider is asked, and
//! then it is kept with its flag. The limits are those of Whisper's own authors, where they have some.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use contracts::TranscriptFlag;
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::heard::{Heard, HeardSegment};

/// Part of the key of a checkpoint: a change of the rules makes the earlier texts be judged again.
pub const VERSION: u32 = 2;

/// A text that compresses better repeats itself.
const MAX_COMPRESSION: f32 = 2.4;
/// Shorter texts compress by chance: "no, no, no, no".
const MIN_COMPRESSED: usize = 64;
/// Nobody says more in a second.
const MAX_CHARACTERS_A_SECOND: f32 = 30.0;
/// Shorter texts may be faster, because times are rough.
const MIN_FAST: usize = 40;
/// An engine that is so sure of silence, and so unsure of its words, has invented them.
const MAX_NO_SPEECH: f32 = 0.6;
const MIN_LOGPROB: f32 = -1.0;
/// Words in a row whose repetitions are counted.
const GRAM: usize = 4;
/// The same words so often in one window are a loop. A refrain of a poem comes three times in a minute.
const MAX_REPEATED: usize = 4;
/// A text with more bytes, its words counted again, is not what a window holds: nobody says a tenth of it in 75 s.
const MAX_BYTES: usize = 32 << 10;
/// The same of segments and words.
const MAX_PARTS: usize = 2_000;
/// Times may be so far outside.
const SLACK: Duration = Duration::from_millis(1_000);

/// Why the text may not be what was said. `window` is the length of what was sent. Times must not be clamped before.
pub fn fault(heard: &Heard, window: Duration) -> Option<TranscriptFlag> {
    let text = heard.text();
    if text.is_empty() {
        return None;
    }
    if heard.segments.iter().any(|segment| is_outside(segment, window)) {
        return Some(TranscriptFlag::OutsideWindow);
    }
    if heard.segments.iter().any(is_no_speech) {
        return Some(TranscriptFlag::NoSpeech);
    }
    if is_too_fast(&text, window) {
        return Some(TranscriptFlag::TooFast);
    }
    if is_loop(&text) {
        return Some(TranscriptFlag::Loop);
    }
    if text.len() >= MIN_COMPRESSED && compression_ratio(&text) > MAX_COMPRESSION {
        return Some(TranscriptFlag::Repetitive);
    }
    None
}

/// Whether a text is so large that it is not even kept as a doubtful one: transcripts are read whole.
pub fn is_too_large(heard: &Heard) -> bool {
    let words = || heard.segments.iter().flat_map(|segment| &segment.words);
    let parts = heard.segments.len() + words().count();
    let bytes = heard.segments.iter().map(|segment| segment.text.len()).chain(words().map(|word| word.text.len()));
    parts > MAX_PARTS || bytes.sum::<usize>() > MAX_BYTES
}

/// What is kept of a text with a fault, if no better one comes. The segments that the engine itself takes for silence are left out: they are
/// invented. The text has its flag all the same, because speech was found in the window.
#[must_use]
pub fn kept(mut heard: Heard) -> Heard {
    heard.segments.retain(|segment| !is_no_speech(segment));
    heard
}

/// Whisper sees half a minute even of a short window, so an end may be past the window; a start may not.
fn is_outside(segment: &HeardSegment, window: Duration) -> bool {
    segment.start > window + SLACK || segment.end < segment.start
}

/// Whether the engine wrote words, and itself takes the segment for silence. One of them is enough for a fault: engines judge each segment by
/// itself, and the others may be what was said.
fn is_no_speech(segment: &HeardSegment) -> bool {
    let measures = &segment.measures;
    let has_words = !segment.text.trim().is_empty();
    let silent = measures.no_speech_prob.is_some_and(|probability| probability > MAX_NO_SPEECH);
    has_words && silent && measures.avg_logprob.is_some_and(|logprob| logprob < MIN_LOGPROB)
}

fn is_too_fast(text: &str, window: Duration) -> bool {
    let characters = text.chars().count();
    characters >= MIN_FAST && characters as f32 > MAX_CHARACTERS_A_SECOND * window.as_secs_f32()
}

/// Whether the same words come again and again: any [`GRAM`] of them, or the same one in a row.
fn is_loop(text: &str) -> bool {
    let words: Vec<String> = text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect();
    let mut grams: HashMap<&[String], usize> = HashMap::new();
    for gram in words.windows(GRAM) {
        let count = grams.entry(gram).or_default();
        *count += 1;
        if *count > MAX_REPEATED {
            return true;
        }
    }
    false
}

/// The word in lower case, without its punctuation.
fn bare(word: &str) -> String {
    word.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Bytes of the text, divided by its bytes after compression with zlib.
pub fn compression_ratio(text: &str) -> f32 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let compressed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    // Writing to memory succeeds.
    let bytes = compressed.map_or(0, |compressed| compressed.len());
    if bytes == 0 { 0.0 } else { text.len() as f32 / bytes as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::heard::{HeardWord, Measures};

    const MINUTE: Duration = Duration::from_secs(60);
    const SPOKEN: &str = "The family of Dashwood had long been settled in Sussex. Their estate was large, and their residence was at \
        Norland Park, in the centre of their property, where, for many generations, they had lived in so respectable a manner as to \
        engage the general good opinion of their surrounding acquaintance.";

    fn heard(text: &str) -> Heard {
        let segment = HeardSegment { end: Duration::from_secs(5), text: text.to_owned(), ..HeardSegment::default() };
        Heard { language: None, segments: vec![segment] }
    }

    fn of(text: &str) -> Option<TranscriptFlag> {
        fault(&heard(text), MINUTE)
    }

    #[test]
    fn spoken_words_pass() {
        for text in [
            "",
            SPOKEN,
            "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
            "No, no, no, no.",
            "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn words_that_come_again_and_again_are_a_loop() {
        assert_eq!(of(&"As you ask what you can do for you. ".repeat(5)), Some(TranscriptFlag::Loop));
        assert_eq!(of(&"ha ".repeat(40)), Some(TranscriptFlag::Loop));
        let refrain = "Quoth the raven: nevermore! ".repeat(3);
        assert_eq!(of(&format!("{SPOKEN} Thus quoth the raven, nevermore. {refrain}")), None);
    }

    #[test]
    fn a_text_without_spaces_that_repeats_itself_is_repetitive() {
        assert_eq!(of(&"謝謝觀看".repeat(20)), Some(TranscriptFlag::Repetitive));
        assert!(compression_ratio(SPOKEN) < MAX_COMPRESSION);
    }

    #[test]
    fn more_than_anybody_can_say_is_too_fast() {
        assert_eq!(fault(&heard(SPOKEN), Duration::from_secs(5)), Some(TranscriptFlag::TooFast));
        assert_eq!(fault(&heard("Ask not."), Duration::from_millis(200)), None, "times of a few words are rough");
    }

    #[test]
    fn an_engine_that_believes_in_silence_is_believed() {
        let with = |no_speech_prob: f32, avg_logprob: Option<f32>| {
            let mut heard = heard("Thank you for watching.");
            heard.segments[0].measures =
                Measures { no_speech_prob: Some(no_speech_prob), avg_logprob, ..Measures::default() };
            fault(&heard, MINUTE)
        };
        assert_eq!(with(0.7, Some(-1.2)), Some(TranscriptFlag::NoSpeech));
        assert_eq!(with(0.7, Some(-0.3)), None);
        assert_eq!(with(0.2, Some(-1.2)), None);
        assert_eq!(with(0.9, None), None, "an engine that does not say how sure it is of its words");
    }

    #[test]
    fn one_segment_of_silence_is_a_fault_and_only_it_is_left_out() {
        let mut mixed = heard(SPOKEN);
        let measures = Measures { no_speech_prob: Some(0.9), avg_logprob: Some(-1.4), ..Measures::default() };
        let invented = HeardSegment {
            start: Duration::from_secs(20),
            end: Duration::from_secs(30),
            text: "Thank you for watching.".to_owned(),
            measures,
            ..HeardSegment::default()
        };
        mixed.segments.push(invented.clone());
        assert_eq!(fault(&mixed, MINUTE), Some(TranscriptFlag::NoSpeech));
        assert_eq!(kept(mixed).text(), SPOKEN);
        let silence = Heard { language: None, segments: vec![invented.clone()] };
        assert!(kept(silence).segments.is_empty());
        // One without words has invented nothing.
        let mut spoken = heard(SPOKEN);
        spoken.segments.push(HeardSegment { text: " ".to_owned(), ..invented });
        assert_eq!(fault(&spoken, MINUTE), None);
    }

    #[test]
    fn what_no_window_can_hold_is_not_kept() {
        assert!(!is_too_large(&heard(&SPOKEN.repeat(20))), "ten times what anybody says");
        assert!(is_too_large(&heard(&SPOKEN.repeat(200))));
        let mut many = heard("one");
        many.segments[0].words = vec![HeardWord { text: "one".to_owned(), ..HeardWord::default() }; 2_000];
        assert!(is_too_large(&many));
        many.segments[0].words.truncate(500);
        assert!(!is_too_large(&many));
    }

    #[test]
    fn a_start_outside_of_the_window_is_a_fault_and_an_end_is_not() {
        let with = |start: f64, end: f64| {
            let mut heard = heard("Ask not.");
            (heard.segments[0].start, heard.segments[0].end) =
                (Duration::from_secs_f64(start), Duration::from_secs_f64(end));
            fault(&heard, Duration::from_secs(11))
        };
        assert_eq!(with(10.0, 12.4), None);
        assert_eq!(with(12.5, 13.0), Some(TranscriptFlag::OutsideWindow));
        assert_eq!(with(3.0, 2.0), Some(TranscriptFlag::OutsideWindow));
    }
}
