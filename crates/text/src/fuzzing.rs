//! The bodies of the fuzz targets `sentences` and `wordpiece`. `scripts/fuzz` runs them on generated inputs; the tests below run them on the
//! inputs in `fuzz/corpus`. They are compiled for these two only.

use crate::sentences::{MAX_SENTENCE, sentences};
use crate::wordpiece::{MAX_TOKENS, WordPiece};

/// A vocabulary in which most words are divided.
const VOCABULARY: &str = r###"{"model": {"type": "WordPiece", "continuing_subword_prefix": "##", "vocab": {
    "[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "##a": 4, "ab": 5, "##b": 6, ".": 7, "the": 8, "##s": 9}}}"###;

/// Divides any text. The sentences are in order, apart, of bounded length, without white space around them, and hold all else of the text.
pub fn sentences_of(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut end = 0;
    let mut kept = String::new();
    for range in sentences(&text) {
        assert!(range.start >= end && range.end > range.start, "{range:?} after {end}");
        assert!(text[end..range.start].trim().is_empty(), "{range:?} leaves something out");
        let sentence = &text[range.clone()];
        assert_eq!(sentence, sentence.trim());
        assert!(sentence.chars().count() <= MAX_SENTENCE);
        kept.push_str(sentence);
        end = range.end;
    }
    let solid = |text: &str| text.chars().filter(|character| !character.is_whitespace()).count();
    assert_eq!(solid(&kept), solid(&text));
}

/// Divides any text into tokens, or reads any vocabulary. Either there are no tokens, or they stand between the first and the last one of
/// the model, and they are the same every time.
pub fn wordpiece(data: &[u8]) {
    let _ = WordPiece::read(data);
    let Ok(vocabulary) = WordPiece::read(VOCABULARY.as_bytes()) else { return };
    let text = String::from_utf8_lossy(data);
    let tokens = vocabulary.tokens(&text);
    assert!(tokens.is_empty() || (3..=MAX_TOKENS).contains(&tokens.len()), "{} tokens", tokens.len());
    if let [first, inner @ .., last] = tokens.as_slice() {
        assert_eq!((*first, *last), (1, 2));
        assert!(inner.iter().all(|token| !matches!(token, 1 | 2) && *token < 10));
    }
    assert_eq!(vocabulary.tokens(&text), tokens, "the same text has other tokens");
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn any_text_is_divided_into_sentences() {
        replay("sentences", super::sentences_of);
    }

    #[test]
    fn any_text_is_divided_into_tokens() {
        replay("wordpiece", super::wordpiece);
    }
}
