//! WordPiece: the tokens of a text, each a number of the model's vocabulary.
//!
//! A word that the vocabulary does not have is divided into the longest pieces that it has, from the left; a piece that continues a word
//! begins with `##`. A word that cannot be divided is one unknown token. Special tokens, such as `[SEP]`, are words of the text like others.

use std::collections::HashMap;

use serde::Deserialize;

use crate::normal::{MAX_WORD, words};

/// Tokens of a text, with the two that the model needs around it. Further ones do not count.
pub const MAX_TOKENS: usize = 256;

/// Beginning of a piece that continues a word.
const CONTINUES: &str = "##";

/// The vocabulary of a model.
#[derive(Debug)]
pub struct WordPiece {
    pieces: HashMap<String, u32>,
    unknown: u32,
    start: u32,
    end: u32,
}

/// The part of `tokenizer.json` that is read.
#[derive(Deserialize)]
struct File {
    model: FileModel,
}

#[derive(Deserialize)]
struct FileModel {
    #[serde(rename = "type")]
    kind: String,
    continuing_subword_prefix: String,
    vocab: HashMap<String, u32>,
}

impl WordPiece {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// The bytes are not such a file, or its tokens are not of WordPiece.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let File { model } = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        if model.kind != "WordPiece" || model.continuing_subword_prefix != CONTINUES {
            return Err("its tokens are not of WordPiece".to_owned());
        }
        let special =
            |name: &str| model.vocab.get(name).copied().ok_or_else(|| format!("the vocabulary has no {name}"));
        let (unknown, start, end) = (special("[UNK]")?, special("[CLS]")?, special("[SEP]")?);
        Ok(Self { unknown, start, end, pieces: model.vocab })
    }

    /// The tokens of a text, at most [`MAX_TOKENS`]. None for a text without words.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        let mut tokens = vec![self.start];
        for word in words(text) {
            if tokens.len() >= MAX_TOKENS - 1 {
                break;
            }
            self.divide(&word, &mut tokens);
        }
        if tokens.len() == 1 {
            return Vec::new();
        }
        tokens.truncate(MAX_TOKENS - 1);
        tokens.push(self.end);
        tokens
    }

    /// Adds the pieces of a word.
    fn divide(&self, word: &str, tokens: &mut Vec<u32>) {
        let before = tokens.len();
        let mut rest = if word.chars().count() > MAX_WORD { None } else { Some(word) };
        while let Some(left) = rest.filter(|left| !left.is_empty()) {
            let continues = tokens.len() > before;
            rest = self.longest(left, continues).map(|(token, length)| {
                tokens.push(token);
                &left[length..]
            });
        }
        if rest.is_none() {
            tokens.truncate(before);
            tokens.push(self.unknown);
        }
    }

    /// The longest piece at the beginning of `text`, and its length in bytes.
    fn longest(&self, text: &str, continues: bool) -> Option<(u32, usize)> {
        let prefix = if continues { CONTINUES } else { "" };
        let mut piece = format!("{prefix}{text}");
        while piece.len() > prefix.len() {
            if let Some(token) = self.pieces.get(&piece) {
                return Some((*token, piece.len() - prefix.len()));
            }
            piece.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vocabulary of a few words.
    fn vocabulary() -> WordPiece {
        let file = r###"{"version": "1.0", "model": {"type": "WordPiece", "continuing_subword_prefix": "##", "vocab": {
            "[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "un": 3, "##believ": 4, "##able": 5, "the": 6, ".": 7, "##b": 8, "[": 9}}}"###;
        WordPiece::read(file.as_bytes()).unwrap()
    }

    #[test]
    fn a_word_is_divided_into_the_longest_pieces() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.tokens("The unbelievable."), [1, 6, 3, 4, 5, 7, 2]);
        assert_eq!(vocabulary.tokens("unb believ"), [1, 3, 8, 0, 2], "a piece within a word is no word");
        assert_eq!(vocabulary.tokens("unx the"), [1, 0, 6, 2], "one unknown token for the whole word");
        assert_eq!(vocabulary.tokens("[SEP]"), [1, 9, 0, 0, 2], "text cannot end itself");
        assert_eq!(vocabulary.tokens(" \n"), [0; 0]);
    }

    #[test]
    fn a_long_text_has_its_first_tokens() {
        let vocabulary = vocabulary();
        let tokens = vocabulary.tokens(&"unbelievable ".repeat(500));
        assert_eq!((tokens.len(), tokens[0], tokens[MAX_TOKENS - 1]), (MAX_TOKENS, 1, 2));
        assert_eq!(vocabulary.tokens(&"a".repeat(101)), [1, 0, 2]);
    }

    #[test]
    fn another_file_is_refused() {
        for file in ["", "{}", r###"{"model": {"type": "BPE", "continuing_subword_prefix": "##", "vocab": {}}}"###] {
            assert!(WordPiece::read(file.as_bytes()).is_err(), "{file}");
        }
        let without =
            r###"{"model": {"type": "WordPiece", "continuing_subword_prefix": "##", "vocab": {"[UNK]": 0}}}"###;
        assert!(WordPiece::read(without.as_bytes()).unwrap_err().contains("[CLS]"));
    }
}
