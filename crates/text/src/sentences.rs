//! Divides text into sentences.
//!
//! A sentence ends at a full stop, question or exclamation mark with the quotes and brackets after it, where white space and no small
//! letter follow, and at an empty line. A full stop after an abbreviation, an initial or a digit before a digit ends none. A longer text
//! without an end is cut between words.

use std::ops::Range;

/// Longest sentence, in characters.
pub const MAX_SENTENCE: usize = 1_000;

/// Words before a full stop that does not end the sentence, in small letters.
const ABBREVIATIONS: [&str; 34] = [
    "mr", "mrs", "ms", "messrs", "mme", "mlle", "dr", "prof", "rev", "hon", "st", "capt", "col", "gen", "lt", "sgt",
    "maj", "gov", "sen", "jr", "sr", "esq", "vol", "pp", "fig", "vs", "cf", "viz", "e.g", "i.e", "a.m", "p.m", "co",
    "mt",
];

/// The sentences of a text: their places in it, in order, without white space around them.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(character) = text[at..].chars().next() {
        let next = at + character.len_utf8();
        at = if is_end(character) { next + closing(&text[next..]) } else { next };
        let ends = if is_end(character) {
            ends_at(&text[start..next], character, &text[at..])
        } else {
            character == '\n' && is_empty_line(&text[next..])
        };
        if ends {
            add(text, start..at, &mut found);
            start = at;
        }
    }
    add(text, start..text.len(), &mut found);
    found
}

fn is_end(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '…') || is_wide_end(character)
}

/// Whether a character ends a sentence without white space after it.
fn is_wide_end(character: char) -> bool {
    matches!(character, '。' | '！' | '？')
}

/// Length in bytes of further marks, quotes and brackets that belong to the end of a sentence.
fn closing(text: &str) -> usize {
    let belongs =
        |character: char| is_end(character) || matches!(character, '"' | '\'' | '”' | '’' | '»' | ')' | ']' | '」');
    text.len() - text.trim_start_matches(belongs).len()
}

/// Whether the rest of the line has only white space.
fn is_empty_line(rest: &str) -> bool {
    rest.chars().find(|character| !matches!(character, ' ' | '\t' | '\r')) == Some('\n')
}

/// Whether the sentence ends with `mark`, its last character, where `rest` follows after quotes and brackets.
fn ends_at(sentence: &str, mark: char, rest: &str) -> bool {
    if is_wide_end(mark) {
        return true;
    }
    // A few spaces at most are looked at, so that a text of spaces and full stops takes no longer than its length.
    let mut following = rest.chars();
    match following.next() {
        None => return true,
        Some(first) if first.is_whitespace() => {}
        Some(_) => return false,
    }
    let follows = following.take(8).find(|character| !character.is_whitespace());
    let goes_on = follows.is_some_and(char::is_lowercase);
    !(goes_on || mark == '.' && is_abbreviated(sentence))
}

/// Whether the full stop at the end belongs to an abbreviation or an initial.
fn is_abbreviated(sentence: &str) -> bool {
    let before = sentence.strip_suffix('.').unwrap_or(sentence);
    let is_of_word = |character: &char| character.is_alphanumeric() || matches!(character, '.' | '-');
    // The longest abbreviation is shorter than this.
    let word: String = before.chars().rev().take(12).take_while(is_of_word).collect();
    let word: String = word.chars().rev().collect();
    let is_initial = word.chars().count() == 1 && word != "I" && word.chars().all(char::is_uppercase);
    is_initial || ABBREVIATIONS.contains(&&*word.to_lowercase())
}

/// Adds a sentence without the white space around it, in pieces if it is too long.
fn add(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut start = range.start;
    loop {
        let rest = &text[start..range.end];
        start += rest.len() - rest.trim_start().len();
        let rest = rest.trim();
        if rest.is_empty() {
            return;
        }
        let limit = rest.char_indices().nth(MAX_SENTENCE).map_or(rest.len(), |(at, _)| at);
        let is_whole = limit == rest.len();
        let cut = if is_whole { limit } else { rest[..limit].rfind(char::is_whitespace).unwrap_or(limit) };
        found.push(start..start + rest[..cut].trim_end().len());
        start += cut;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn sentences_end_at_their_marks() {
        assert_eq!(found("One. Two!  Three?\nFour"), ["One.", "Two!", "Three?", "Four"]);
        assert_eq!(
            found("\"What is it?\" he said. \"Go!\" She went."),
            ["\"What is it?\" he said.", "\"Go!\"", "She went."]
        );
        assert_eq!(found("He stopped... Then he went."), ["He stopped...", "Then he went."]);
        assert_eq!(found("A title\n\nThe first line\ngoes on."), ["A title", "The first line\ngoes on."]);
        assert_eq!(found("東京。大きい。"), ["東京。", "大きい。"]);
        assert_eq!(found(" \n "), [""; 0]);
    }

    #[test]
    fn abbreviations_initials_and_numbers_end_none() {
        for text in [
            "Mr. Darcy and Mrs. Bennet met Dr. Grey at St. James.",
            "J. R. Smith paid 3.50 at 5 p.m. Tuesday.",
            "It cost 1.000 pounds, e.g. Twenty a day.",
        ] {
            assert_eq!(found(text), [text]);
        }
        assert_eq!(found("It was I. He knew."), ["It was I.", "He knew."]);
    }

    #[test]
    fn a_text_without_an_end_is_cut_between_words() {
        let text = "word ".repeat(1_000);
        let pieces = found(&text);
        assert_eq!(pieces.len(), 5, "of 200 words each");
        assert!(pieces.iter().all(|piece| piece.chars().count() <= MAX_SENTENCE && piece.ends_with("word")));
        let solid = "x".repeat(2_500);
        assert_eq!(found(&solid).into_iter().map(str::len).collect::<Vec<_>>(), [1_000, 1_000, 500]);
    }
}
