//! Text as the model was trained on it: without control characters and accents, in lower case, and divided into words.
//!
//! A word is a run of letters and digits, or one punctuation mark, or one Chinese character.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// Longest word, in characters. Of a longer one, one more character is kept, by which it is recognised as too long.
pub const MAX_WORD: usize = 100;

/// The words of a text, in order. A word has at most [`MAX_WORD`] and one characters.
pub struct Words<I: Iterator<Item = char>> {
    characters: I,
    /// The character that ended the word before.
    next: Option<char>,
}

/// The words of a text.
pub fn words(text: &str) -> Words<impl Iterator<Item = char>> {
    let clean = text.chars().filter_map(cleaned).nfd().filter(|character| !is_combining_mark(*character));
    Words { characters: clean.flat_map(char::to_lowercase), next: None }
}

impl<I: Iterator<Item = char>> Iterator for Words<I> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut word = String::new();
        let mut length = 0;
        while let Some(character) = self.next.take().or_else(|| self.characters.next()) {
            if character == ' ' {
                if length > 0 {
                    return Some(word);
                }
            } else if is_alone(character) {
                if length == 0 {
                    return Some(character.to_string());
                }
                self.next = Some(character);
                return Some(word);
            } else {
                if length <= MAX_WORD {
                    word.push(character);
                }
                length += 1;
            }
        }
        (length > 0).then_some(word)
    }
}

/// A character of the text; a space for any white space, and none for a control character.
fn cleaned(character: char) -> Option<char> {
    match character {
        '\t' | '\n' | '\r' => Some(' '),
        '\0' | char::REPLACEMENT_CHARACTER => None,
        _ if character.general_category_group() == GeneralCategoryGroup::Other => None,
        _ if character.is_whitespace() => Some(' '),
        _ => Some(character),
    }
}

/// Whether a character is a word of its own.
fn is_alone(character: char) -> bool {
    let is_punctuation = || character.general_category_group() == GeneralCategoryGroup::Punctuation;
    character.is_ascii_punctuation() || is_chinese(character) || is_punctuation()
}

/// Whether a character is one of the blocks of Chinese characters that the model's authors name.
fn is_chinese(character: char) -> bool {
    matches!(
        u32::from(character),
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x2_a6df | 0x2_a700..=0x2_ceaf | 0x2_f800..=0x2_fa1f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        words(text).collect()
    }

    #[test]
    fn words_are_divided_as_the_model_reads_them() {
        assert_eq!(found("Café naïve — ÉCOLE, 3.14!"), ["cafe", "naive", "—", "ecole", ",", "3", ".", "14", "!"]);
        assert_eq!(found("He's: \"don't\""), ["he", "'", "s", ":", "\"", "don", "'", "t", "\""]);
        assert_eq!(found("東京 is big"), ["東", "京", "is", "big"]);
        assert_eq!(found("a\u{200b}b\tc\0d\u{fffd}"), ["ab", "cd"]);
        assert_eq!(found(" \r\n "), [""; 0]);
    }

    #[test]
    fn a_long_word_is_not_kept_whole() {
        let words = found(&format!("{} b", "a".repeat(1_000_000)));
        assert_eq!((words[0].len(), &*words[1]), (MAX_WORD + 1, "b"));
    }
}
