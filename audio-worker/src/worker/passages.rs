//! The sentences of a transcript, each with its time. A sentence may begin in one segment and end in another.

use std::ops::Range;

use contracts::{TranscriptSegment, TranscriptWord};

/// A sentence with its time, before it has an embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimedSentence {
    /// Its start in milliseconds.
    pub start_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// What is said.
    pub text: String,
}

/// Where a piece of the whole text is in the recording.
struct Piece {
    /// Its bytes in the text.
    bytes: Range<usize>,
    start_ms: u64,
    end_ms: u64,
}

/// The sentences of a transcript in their order.
pub(super) fn sentences_of(segments: &[TranscriptSegment]) -> Vec<TimedSentence> {
    let (mut text, mut pieces) = (String::new(), Vec::new());
    for segment in segments {
        add(segment, &mut text, &mut pieces);
    }
    let timed = |bytes: Range<usize>| {
        let start_ms = at(&pieces, bytes.start, |piece, share| piece.start_ms + share);
        let end_ms = at(&pieces, bytes.end.saturating_sub(1), |piece, _| piece.end_ms);
        TimedSentence { start_ms, end_ms: end_ms.max(start_ms), text: text[bytes].to_owned() }
    };
    text::sentences(&text).into_iter().map(timed).collect()
}

/// Adds a segment to the text, and its words to the pieces; without times of words, the segment is one piece.
fn add(segment: &TranscriptSegment, text: &mut String, pieces: &mut Vec<Piece>) {
    if segment.text.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push(' ');
    }
    let begin = text.len();
    text.push_str(&segment.text);
    match words_in(&segment.text, &segment.words) {
        Some(words) => pieces.extend(words.into_iter().map(|(word, bytes)| Piece {
            bytes: begin + bytes.start..begin + bytes.end,
            start_ms: word.start_ms,
            end_ms: word.end_ms,
        })),
        None => {
            pieces.push(Piece { bytes: begin..text.len(), start_ms: segment.start_ms, end_ms: segment.end_ms });
        }
    }
}

/// Where each word is in the text of its segment; `None` if there are none, or they are not those of the text.
fn words_in<'w>(text: &str, words: &'w [TranscriptWord]) -> Option<Vec<(&'w TranscriptWord, Range<usize>)>> {
    let (mut found, mut from) = (Vec::with_capacity(words.len()), 0);
    for word in words {
        let spoken = word.text.trim();
        let start = from + text[from..].find(spoken)?;
        from = start + spoken.len();
        found.push((word, start..from));
    }
    (!found.is_empty()).then_some(found)
}

/// The time at a byte: that of the piece that has it, or of the one before. `time` also gets the share of the piece's time before the byte.
fn at(pieces: &[Piece], byte: usize, time: impl Fn(&Piece, u64) -> u64) -> u64 {
    let index = pieces.partition_point(|piece| piece.bytes.start <= byte).saturating_sub(1);
    let Some(piece) = pieces.get(index) else { return 0 };
    let (length, within) = (piece.bytes.len().max(1) as u64, byte.saturating_sub(piece.bytes.start) as u64);
    let lasts = piece.end_ms.saturating_sub(piece.start_ms);
    time(piece, lasts.saturating_mul(within.min(length)) / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start_ms: u64, end_ms: u64, text: &str, words: &[(u64, u64, &str)]) -> TranscriptSegment {
        let words = words.iter().map(|(start_ms, end_ms, text)| TranscriptWord {
            start_ms: *start_ms,
            end_ms: *end_ms,
            text: (*text).to_owned(),
        });
        TranscriptSegment {
            start_ms,
            end_ms,
            text: text.to_owned(),
            words: words.collect(),
            provider: None,
            model: None,
            flag: None,
        }
    }

    fn sentence(start_ms: u64, end_ms: u64, text: &str) -> TimedSentence {
        TimedSentence { start_ms, end_ms, text: text.to_owned() }
    }

    #[test]
    fn a_sentence_runs_over_segments() {
        let segments = [
            segment(1_000, 3_000, "It was late. She", &[]),
            segment(3_500, 5_000, "went home.", &[]),
            segment(9_000, 9_500, "", &[]),
            segment(60_000, 61_000, "Nobody saw her.", &[]),
        ];
        let found = sentences_of(&segments);
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].start_ms, found[0].text.as_str()), (1_000, "It was late."));
        assert_eq!((found[1].end_ms, found[1].text.as_str()), (5_000, "She went home."));
        assert!((2_500..3_000).contains(&found[1].start_ms), "{}", found[1].start_ms);
        assert_eq!(found[2], sentence(60_000, 61_000, "Nobody saw her."));
    }

    #[test]
    fn the_times_of_words_are_those_of_sentences() {
        let words = [(0, 200, " Yes."), (4_000, 4_300, " No,"), (4_300, 4_800, " never.")];
        let found = sentences_of(&[segment(0, 5_000, "Yes. No, never.", &words)]);
        assert_eq!(found, [sentence(0, 200, "Yes."), sentence(4_000, 4_800, "No, never.")]);
    }

    #[test]
    fn words_of_another_text_are_not_used() {
        let words = [(0, 200, "Perhaps.")];
        let found = sentences_of(&[segment(0, 5_000, "Yes. No.", &words)]);
        assert_eq!((found[0].start_ms, found[1].end_ms), (0, 5_000));
        assert!(sentences_of(&[]).is_empty());
    }
}
