//! The gate for descriptions that a language model wrote: whole sentences of the right length, without loops, in the book's language.

use std::time::Duration;

use contracts::TranscriptFlag;

use super::language;
use crate::speech::{Heard, HeardSegment, gate};

/// Why a text of a language model is not used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFault {
    /// The same words come again and again.
    Loop,
    /// It is in another language than the book.
    WrongLanguage,
    /// It is shorter or longer than a description may be.
    Length,
}

impl TextFault {
    /// Its name in the public API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::WrongLanguage => "wrong_language",
            Self::Length => "length",
        }
    }

    /// What the model is told before its second attempt.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Loop => "Your last answer repeated itself. Say each thing once.",
            Self::WrongLanguage => "Your last answer was in the wrong language.",
            Self::Length => "Your last description was too short or too long. Write 220 to 320 characters.",
        }
    }
}

/// What is wrong with a note about a part of a book.
pub(super) fn note_fault(note: &str, language: Option<&str>) -> Option<TextFault> {
    if is_loop(note) {
        return Some(TextFault::Loop);
    }
    language.filter(|code| language::is_other(note, code)).map(|_| TextFault::WrongLanguage)
}

/// What is wrong with a description.
pub(super) fn description_fault(description: &str, language: Option<&str>) -> Option<TextFault> {
    let fault = note_fault(description, language);
    let fits = text::DESCRIPTION_CHARACTERS.contains(&description.chars().count());
    fault.or((!fits).then_some(TextFault::Length))
}

/// A model's description on one line, without quotes and marks around it, and as many whole sentences of it as fit.
pub(super) fn fitted(said: &str) -> String {
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|character| !character.is_control() && *character != '*').collect();
    let line = line.trim_matches(|character: char| character.is_whitespace() || "\"“”„«»#".contains(character));
    let most = *text::DESCRIPTION_CHARACTERS.end();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let ends = text::sentences(line).into_iter().map(|sentence| sentence.end);
    let end = ends.take_while(|end| line[..*end].chars().count() <= most).last();
    // Without the end of a sentence, it is as it is, and too long.
    end.map_or(line, |end| &line[..end]).to_owned()
}

/// The gate of speech has the rule for loops; the time of a whole day keeps its other rules out.
fn is_loop(said: &str) -> bool {
    let day = Duration::from_secs(24 * 60 * 60);
    let segment = HeardSegment { end: day, text: said.to_owned(), ..HeardSegment::default() };
    let fault = gate::fault(&Heard { language: None, segments: vec![segment] }, day);
    matches!(fault, Some(TranscriptFlag::Loop | TranscriptFlag::Repetitive))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "The family of Dashwood had long been settled in Sussex, at Norland Park, in the centre of their large property. When \
        their father dies, the sisters Elinor and Marianne must leave it, and learn in a cottage in Devonshire what sense and sensibility \
        are worth.";

    #[test]
    fn a_good_description_passes() {
        assert_eq!(description_fault(GOOD, Some("en")), None);
        assert_eq!(description_fault(GOOD, None), None);
    }

    #[test]
    fn loops_other_languages_and_wrong_lengths_do_not() {
        let again = "The book is about a romance and a crime. ".repeat(7);
        assert_eq!(description_fault(&again, Some("en")), Some(TextFault::Loop));
        assert_eq!(description_fault(GOOD, Some("de")), Some(TextFault::WrongLanguage));
        assert_eq!(description_fault("A book.", Some("en")), Some(TextFault::Length));
        assert_eq!(note_fault("A short note.", Some("en")), None);
    }

    #[test]
    fn a_long_description_ends_with_a_whole_sentence() {
        let long = format!(
            "**“{GOOD}\n A third sentence says more than a catalogue has room for, and goes on and on and on.”**"
        );
        assert_eq!(fitted(&long), GOOD);
        assert_eq!(fitted(" \"A book.\" "), "A book.");
        let endless = "word ".repeat(100);
        assert_eq!(description_fault(&fitted(&endless), None), Some(TextFault::Loop));
    }
}
