//! Passwords that are guessed first: common ones with the usual substitutions, the user's own name,
//! repeated characters, and sequences of the alphabet, of digits and of keyboard rows.

use std::collections::HashSet;
use std::sync::LazyLock;

/// One password per line, in lower case; from the Django project, under its BSD licence: see `common.NOTICE` beside it.
static LIST: &str = include_str!("common.txt");
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| LIST.lines().collect());

/// A password along one of these rows, in either direction, is easily guessed.
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
/// Minimum length, in characters, of a part of a name or of a row that counts.
const MIN_PART: usize = 4;

/// Whether a password is among the first that an attacker tries; `names` are the user's own.
pub(super) fn is_easily_guessed(password: &str, names: &[&str]) -> bool {
    let folded = password.to_lowercase();
    let core = without_decoration(&folded);
    is_listed(&folded, core) || is_repeated(&folded) || is_row(core) || is_name(core, names) || is_name(&folded, names)
}

fn is_listed(folded: &str, core: &str) -> bool {
    [folded, core].into_iter().any(|word| COMMON.contains(word) || COMMON.contains(plain(word).as_str()))
}

/// The word without digits and symbols at its ends, which people add to satisfy a rule; unchanged if it has no letters.
fn without_decoration(word: &str) -> &str {
    let core = word.trim_matches(|c: char| !c.is_alphabetic());
    if core.is_empty() { word } else { core }
}

/// The word with look-alike digits and signs replaced by letters.
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

/// Whether it consists of a unit of one to four characters, repeated.
fn is_repeated(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    (1..=4.min(letters.len() / 2)).any(|period| letters.iter().zip(&letters[period..]).all(|(a, b)| a == b))
}

fn is_row(word: &str) -> bool {
    let backwards: String = word.chars().rev().collect();
    word.len() >= MIN_PART && ROWS.iter().any(|row| row.contains(word) || row.contains(&backwards))
}

/// Whether it is one of the names, a part of one, or the product's name.
fn is_name(word: &str, names: &[&str]) -> bool {
    let plain = plain(word);
    let is = |part: &str| part.chars().count() >= MIN_PART && (word == part || plain == part);
    names.iter().chain(&["sightline"]).any(|text| {
        let text = text.to_lowercase();
        let letters: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        let trimmed = text.trim_matches(|c: char| !c.is_alphabetic());
        is(trimmed) || is(&letters) || text.split(|c: char| !c.is_alphanumeric()).any(is)
    })
}
