//! An answer in one of the forms of the interface.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use contracts::{Transcript, TranscriptFormat, TranscriptSegment};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::form::Format;
use crate::speech::engine::Judged;
use crate::speech::file::PROVIDER;
use crate::speech::heard::{HeardSegment, whole_ms};
use crate::speech::whisper::{language_code, language_name};

/// The words of a recording.
pub(super) struct Answer {
    /// Its length.
    pub duration: Duration,
    /// The model that wrote them down.
    pub model: String,
    /// The language that the client named.
    pub language: Option<String>,
    /// The words of the windows, each with its start in the recording.
    pub windows: Vec<(Duration, Judged)>,
}

/// What the transcription counts as: the length of the recording, in whole seconds.
pub(super) fn usage(duration: Duration) -> Value {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    json!({"type": "duration", "seconds": seconds})
}

impl Answer {
    /// The response.
    pub fn response(self, format: Format) -> Response {
        match format {
            Format::Json => Json(json!({"text": self.text(), "usage": usage(self.duration)})).into_response(),
            Format::Verbose { words, segments } => Json(self.verbose(words, segments)).into_response(),
            Format::Plain(format) => {
                let text = match format {
                    // One line, as other servers write it.
                    TranscriptFormat::Txt => self.text() + "\n",
                    format => self.into_transcript().render(format),
                };
                ([(CONTENT_TYPE, format.media_type())], text).into_response()
            }
        }
    }

    fn text(&self) -> String {
        let texts = self.windows.iter().map(|(_, judged)| judged.heard.text()).filter(|text| !text.is_empty());
        texts.collect::<Vec<_>>().join(" ")
    }

    fn into_transcript(self) -> Transcript {
        let Self { duration, model, language, windows } = self;
        let segments = windows.into_iter().flat_map(|(at, Judged { heard, flag })| -> Vec<TranscriptSegment> {
            heard.into_segments(at, PROVIDER, &model, flag)
        });
        Transcript::new(language, whole_ms(duration), segments.collect())
    }

    fn verbose(&self, words: bool, segments: bool) -> Value {
        let all =
            || self.windows.iter().flat_map(|(at, judged)| judged.heard.segments.iter().map(move |one| (*at, one)));
        let heard = self.windows.iter().find_map(|(_, judged)| judged.heard.language.as_deref());
        let language = self.language.as_deref().and_then(language_code).or(heard);
        let mut answer = json!({
            "task": "transcribe",
            "language": language.and_then(language_name).unwrap_or("unknown"),
            "duration": seconds(self.duration),
            "text": self.text(),
            "usage": usage(self.duration),
        });
        if words {
            let words = all().flat_map(|(at, segment)| segment.words.iter().map(move |word| (at, word)));
            let words = words.map(|(at, word)| {
                json!({"word": word.text, "start": seconds(at + word.start), "end": seconds(at + word.end)})
            });
            answer["words"] = words.collect();
        }
        if segments {
            answer["segments"] =
                all().enumerate().map(|(id, (at, segment))| verbose_segment(id, at, segment)).collect();
        }
        answer
    }
}

/// A segment with the fields that clients of the interface expect. The tokens of a model mean nothing to them.
fn verbose_segment(id: usize, at: Duration, segment: &HeardSegment) -> Value {
    let measures = &segment.measures;
    json!({
        "id": id,
        "seek": whole_ms(at) / 10,
        "start": seconds(at + segment.start),
        "end": seconds(at + segment.end),
        "text": format!(" {}", segment.text.trim()),
        "tokens": [],
        "temperature": rounded(measures.temperature.unwrap_or(0.0)),
        "avg_logprob": rounded(measures.avg_logprob.unwrap_or(0.0)),
        "compression_ratio": rounded(measures.compression_ratio.unwrap_or(0.0)),
        "no_speech_prob": rounded(measures.no_speech_prob.unwrap_or(0.0)),
    })
}

fn seconds(time: Duration) -> f64 {
    whole_ms(time) as f64 / 1e3
}

/// Four decimals are enough, and shorter than the digits of a binary fraction.
fn rounded(number: f32) -> f64 {
    (f64::from(number) * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::heard::{Heard, HeardWord, Measures};

    fn answer() -> Answer {
        let time = Duration::from_millis;
        let word = HeardWord { start: time(100), end: time(400), text: "Ask".to_owned() };
        let measures = Measures { avg_logprob: Some(-0.123_456), no_speech_prob: Some(0.01), ..Measures::default() };
        let segment = HeardSegment {
            start: time(100),
            end: time(1_000),
            text: "Ask not.".to_owned(),
            words: vec![word],
            measures,
        };
        let judged =
            || Judged { heard: Heard { language: Some("en".to_owned()), segments: vec![segment.clone()] }, flag: None };
        let windows = vec![(time(0), judged()), (time(51_000), judged())];
        Answer { duration: time(62_000), model: "whisper-tiny.en".to_owned(), language: None, windows }
    }

    #[test]
    fn verbose_json_has_times_of_the_recording_and_the_fields_of_the_interface() {
        let verbose = answer().verbose(true, true);
        assert_eq!(verbose["language"], "english");
        assert_eq!(verbose["duration"], 62.0);
        assert_eq!(verbose["text"], "Ask not. Ask not.");
        let second = &verbose["segments"][1];
        assert_eq!((&second["id"], &second["seek"], &second["start"]), (&json!(1), &json!(5_100), &json!(51.1)));
        assert_eq!((&second["text"], &second["avg_logprob"]), (&json!(" Ask not."), &json!(-0.1235)));
        for field in ["end", "tokens", "temperature", "compression_ratio", "no_speech_prob"] {
            assert!(!second[field].is_null(), "{field}");
        }
        assert_eq!(verbose["words"][1], json!({"word": "Ask", "start": 51.1, "end": 51.4}));
        assert!(answer().verbose(false, true)["words"].is_null());
    }

    async fn body(format: Format) -> String {
        let body = axum::body::to_bytes(answer().response(format).into_body(), 10_000).await.unwrap();
        String::from_utf8_lossy(&body).into_owned()
    }

    #[tokio::test]
    async fn text_is_one_line_and_subtitles_have_cues() {
        assert_eq!(body(Format::Plain(TranscriptFormat::Txt)).await, "Ask not. Ask not.\n");
        let cues = "1\n00:00:00,100 --> 00:00:01,000\nAsk not.\n\n2\n00:00:51,100 --> 00:00:52,000\nAsk not.\n";
        assert_eq!(body(Format::Plain(TranscriptFormat::Srt)).await, cues);
        let json: Value = serde_json::from_str(&body(Format::Json).await).unwrap();
        assert_eq!(json, json!({"text": "Ask not. Ask not.", "usage": {"type": "duration", "seconds": 62}}));
    }
}
