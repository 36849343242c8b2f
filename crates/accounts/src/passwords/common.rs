//! Passwords that are guessed first: those that many people use, with the usual changes to them; a person's own name; a few
//! characters again and again; rows of the alphabet, of digits and of the keyboard.

use std::collections::HashSet;
use std::sync::LazyLock;

/// One a line, in lower case; from the Django project, under its BSD licence: see `common.NOTICE` beside it.
static LIST: &str = include_str!("common.txt");
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| LIST.lines().collect());

/// What runs along one of these, either way, is no more than its beginning and its length.
const ROWS: [&str; 8] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "azertyuiop",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
];
/// A part of the person's name shorter than this says nothing.
const TELLING: usize = 4;

/// Whether a password is among those that are guessed first; `about` is what is known of the person.
pub(super) fn is_easily_guessed(password: &str, about: &[&str]) -> bool {
    let folded = password.to_lowercase();
    let core = without_decoration(&folded);
    is_listed(&folded, core) || is_repeated(&folded) || is_row(core) || is_about(core, about)
}

fn is_listed(folded: &str, core: &str) -> bool {
    [folded, core].into_iter().any(|word| COMMON.contains(word) || COMMON.contains(plain(word).as_str()))
}

/// The word without the digits and signs that people put around one to please a rule. One that has nothing else stays.
fn without_decoration(word: &str) -> &str {
    let core = word.trim_matches(|c: char| !c.is_alphabetic());
    if core.is_empty() { word } else { core }
}

/// The word with letters in place of the digits and signs that look like them.
fn plain(word: &str) -> String {
    let letter = |c| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    word.chars().map(letter).collect()
}

/// Whether it is up to four characters again and again.
fn is_repeated(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    (1..=4.min(letters.len() / 2)).any(|period| letters.iter().zip(&letters[period..]).all(|(a, b)| a == b))
}

fn is_row(word: &str) -> bool {
    let backwards: String = word.chars().rev().collect();
    word.len() >= TELLING && ROWS.iter().any(|row| row.contains(word) || row.contains(&backwards))
}

/// Whether it is the person's name or address, or a part of them, or the product's name.
fn is_about(core: &str, about: &[&str]) -> bool {
    let plain = plain(core);
    let is = |part: &str| part.chars().count() >= TELLING && (core == part || plain == part);
    about.iter().chain(&["sightline"]).any(|text| {
        let text = text.to_lowercase();
        let letters: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        let trimmed = text.trim_matches(|c: char| !c.is_alphabetic());
        is(trimmed) || is(&letters) || text.split(|c: char| !c.is_alphanumeric()).any(is)
    })
}
