//! What servers answer about speech. Read for what it has: `verbose_json` with times, words and measures of some, `{"text"}` of others.
//!
//! Known differences: words beside the segments or inside them, or none; times of segments in nanoseconds; no language, or its name
//! instead of its code; segments without the text, or the text without segments.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::providers::classify;
use crate::providers::http::CallFailure;
use crate::providers::language;
use crate::speech::{Heard, HeardSegment, HeardWord, Measures};

/// A time of a window is below it in seconds and, if it is not zero, above it in nanoseconds.
const NANOSECONDS_FROM: f64 = 1e6;
/// Most segments or words that are read.
const MAX_PARTS: usize = 10_000;
/// Longest sound that a server charges for a window. Some charge a least length.
const MAX_CHARGED: Duration = Duration::from_secs(60 * 60);

/// What a server says.
#[derive(Debug, PartialEq)]
pub(in crate::providers) struct AudioAnswer {
    /// What it heard.
    pub heard: Heard,
    /// The length that it charges, where it says so.
    pub charged: Option<Duration>,
}

/// Reads the body of a success. `window` is the length of what was sent: the time of a text without times.
///
/// # Errors
/// When it has no text.
pub(in crate::providers) fn read(body: &[u8], window: Duration) -> Result<AudioAnswer, CallFailure> {
    let unusable = || classify::unusable(body, "no text");
    let Ok(Value::Object(answer)) = serde_json::from_slice::<Value>(body) else { return Err(unusable()) };
    let text = answer.get("text").and_then(Value::as_str).map(str::trim);
    let listed = list(answer.get("segments"));
    if text.is_none() && listed.is_empty() {
        return Err(unusable());
    }
    let mut segments: Vec<HeardSegment> = listed.iter().filter_map(|part| segment(part, window)).collect();
    if segments.iter().all(|segment| segment.text.is_empty()) {
        segments = whole(text.unwrap_or_default(), window);
    }
    let words: Vec<HeardWord> = list(answer.get("words")).into_iter().filter_map(word).collect();
    share(words, &mut segments);
    let named = answer.get("language").and_then(Value::as_str);
    let language = named.and_then(language::code_of).map(str::to_owned);
    Ok(AudioAnswer { heard: Heard { language, segments }, charged: charged(&answer) })
}

/// The objects of a list; none of anything else.
fn list(value: Option<&Value>) -> Vec<&Map<String, Value>> {
    let parts = value.and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(Value::as_object).take(MAX_PARTS).collect()
}

/// A text without times of its own.
fn whole(text: &str, window: Duration) -> Vec<HeardSegment> {
    if text.is_empty() {
        return Vec::new();
    }
    vec![HeardSegment { end: window, text: text.to_owned(), ..HeardSegment::default() }]
}

fn segment(part: &Map<String, Value>, window: Duration) -> Option<HeardSegment> {
    let text = part.get("text")?.as_str()?.trim().to_owned();
    let measure = |name: &str| part.get(name).and_then(Value::as_f64).map(|value| value as f32);
    let measures = Measures {
        avg_logprob: measure("avg_logprob"),
        no_speech_prob: measure("no_speech_prob"),
        compression_ratio: measure("compression_ratio"),
        temperature: measure("temperature"),
    };
    let (start, end) = times(part).unwrap_or((Duration::ZERO, window));
    let words = list(part.get("words")).into_iter().filter_map(word).collect();
    Some(HeardSegment { start, end, text, words, measures })
}

fn word(part: &Map<String, Value>) -> Option<HeardWord> {
    let text = part.get("word").or_else(|| part.get("text"))?.as_str()?.trim().to_owned();
    let (start, end) = times(part)?;
    (!text.is_empty()).then_some(HeardWord { start, end, text })
}

fn times(part: &Map<String, Value>) -> Option<(Duration, Duration)> {
    let time = |name: &str| {
        let number = part.get(name)?.as_f64()?;
        let seconds = if number.abs() >= NANOSECONDS_FROM { number / 1e9 } else { number };
        Duration::try_from_secs_f64(seconds.max(0.0)).ok()
    };
    Some((time("start")?, time("end")?))
}

/// Gives the words that stand beside the segments to the segment in which each begins.
fn share(words: Vec<HeardWord>, segments: &mut [HeardSegment]) {
    if segments.iter().any(|segment| !segment.words.is_empty()) {
        return;
    }
    for word in words {
        // The last one that has begun; the first one for a word before all of them.
        let index = segments.iter().rposition(|segment| segment.start <= word.start).unwrap_or_default();
        if let Some(segment) = segments.get_mut(index) {
            segment.words.push(word);
        }
    }
}

/// `{"usage": {"type": "duration", "seconds": 61}}`. What nobody charges for a window is not believed.
fn charged(answer: &Map<String, Value>) -> Option<Duration> {
    let seconds = answer.get("usage")?.get("seconds")?.as_f64()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|length| *length <= MAX_CHARGED)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(11);

    fn answer(body: &Value) -> AudioAnswer {
        read(body.to_string().as_bytes(), WINDOW).unwrap()
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_bare_text_has_the_time_of_its_window() {
        let heard = answer(&json!({"text": " Ask not. "})).heard;
        assert_eq!((heard.text().as_str(), heard.language), ("Ask not.", None));
        assert_eq!((heard.segments[0].start, heard.segments[0].end), (Duration::ZERO, WINDOW));
        assert!(answer(&json!({"text": ""})).heard.segments.is_empty(), "nothing was said");
    }

    #[test]
    fn all_of_verbose_json_is_kept() {
        let read = answer(&json!({
            "task": "transcribe", "language": "english", "duration": 11.0, "text": "And so. Ask not.",
            "segments": [
                {"id": 0, "start": 0.0, "end": 4.5, "text": " And so.", "avg_logprob": -0.3, "no_speech_prob": 0.01, "compression_ratio": 1.2, "temperature": 0.0},
                {"id": 1, "start": 4.5, "end": 11, "text": " Ask not."}
            ],
            "words": [
                {"word": "And", "start": 0.1, "end": 0.4}, {"word": "so.", "start": 0.5, "end": 0.9}, {"word": "Ask", "start": 4.6, "end": 5.0},
                {"word": "not.", "start": 5.1, "end": 5.4}
            ],
            "usage": {"type": "duration", "seconds": 11}
        }));
        assert_eq!((read.heard.language.as_deref(), read.charged), (Some("en"), Some(WINDOW)));
        let counts: Vec<_> = read.heard.segments.iter().map(|segment| (&*segment.text, segment.words.len())).collect();
        assert_eq!(counts, [("And so.", 2), ("Ask not.", 2)]);
        assert_eq!(read.heard.segments[0].measures.avg_logprob, Some(-0.3));
        assert_eq!(read.heard.segments[1].measures, Measures::default());
    }

    #[test]
    fn the_forms_of_other_servers_are_understood() {
        // Nanoseconds; words inside the segments; words asked for, and null.
        let nanoseconds = answer(&json!({"segments": [{"start": 500_000_000, "end": 2_000_000_000_u64, "text": "a"}]}));
        assert_eq!(nanoseconds.heard.segments[0].end, seconds(2.0));
        let inside = answer(&json!({"text": "a", "segments": [
            {"start": 0, "end": 1, "text": "a", "words": [{"word": " a", "start": 0, "end": 0.5, "probability": 0.9}]}]}));
        assert_eq!(inside.heard.segments[0].words[0].text, "a");
        let null = answer(&json!({"text": "a b", "segments": null, "words": null, "language": null}));
        assert_eq!(null.heard.text(), "a b");
        // Segments of another kind beside a good text.
        let odd = answer(&json!({"text": "a b", "segments": ["a", {"text": 5}, {"start": "0", "text": ""}]}));
        assert_eq!(odd.heard.text(), "a b");
        let negative = answer(&json!({"segments": [{"start": -0.2, "end": 1e300, "text": "a"}]}));
        assert_eq!(negative.heard.segments[0].start, Duration::ZERO);
    }

    #[test]
    fn a_length_that_nobody_charges_is_not_believed() {
        let charged = |seconds: Value| answer(&json!({"text": "a", "usage": {"seconds": seconds}})).charged;
        assert_eq!(charged(json!(12.5)), Some(seconds(12.5)));
        for wrong in [json!(-1), json!(1e9), json!(1e300), json!("9")] {
            assert_eq!(charged(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn what_has_no_text_is_no_answer() {
        for body in ["", "[]", "null", "{}", r#"{"text": null}"#, r#"{"segments": []}"#, r#"{"text": "half"#, "<html>"]
        {
            assert!(read(body.as_bytes(), WINDOW).is_err(), "{body}");
        }
    }
}
