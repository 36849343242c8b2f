//! The files of a transcript, in each of its forms.

use contracts::{Transcript, TranscriptFlag, TranscriptFormat, TranscriptSegment, TranscriptWord};

use crate::assert_file;

#[test]
fn a_transcript_matches_its_golden_file() {
    let word = |start_ms, end_ms, text: &str| TranscriptWord { start_ms, end_ms, text: text.to_owned() };
    let first = TranscriptSegment {
        start_ms: 320,
        end_ms: 1_640,
        text: "Ask not.".to_owned(),
        words: vec![word(320, 900, "Ask"), word(900, 1_640, "not.")],
        provider: Some("here".to_owned()),
        model: Some("whisper-tiny.en".to_owned()),
        flag: None,
    };
    let second = TranscriptSegment {
        start_ms: 51_100,
        end_ms: 62_000,
        text: "Ask, ask, ask.".to_owned(),
        words: Vec::new(),
        provider: Some("speaches".to_owned()),
        model: None,
        flag: Some(TranscriptFlag::Loop),
    };
    let transcript = Transcript::new(Some("en".to_owned()), 62_000, vec![first, second]);
    for format in TranscriptFormat::ALL {
        assert_file(&format!("tests/golden/transcript.{format}"), &transcript.render(format));
    }
    let stored = include_bytes!("../golden/transcript.json");
    assert_eq!(Transcript::parse(stored).unwrap(), transcript);
}
