//! Normalisation of passwords by the OpaqueString profile of PRECIS (RFC 8265, 4.2): other spaces
//! become U+0020, and the text is converted to Unicode Normalization Form C. So a password is the
//! same whether or not the keyboard composes letters. Unlike the profile, control characters and
//! code points without an assignment stay allowed: passwords that were set before may contain them.

use unicode_normalization::UnicodeNormalization;

use super::MAX_LENGTH;
use crate::secret_text::SecretText;

/// A password, normalised.
pub(super) fn normalised(password: &SecretText) -> SecretText {
    let spaces = password.expose().chars().map(|c| if is_other_space(c) { ' ' } else { c });
    SecretText::new(spaces.nfc().collect::<String>())
}

/// The texts that a stored hash of this password may have been made from.
pub(super) struct Candidates {
    /// The normalised password.
    pub normalised: SecretText,
    /// The password as it was typed, where that differs. Hashes from before normalisation were made from this text.
    pub typed: Option<SecretText>,
}

impl Candidates {
    pub fn of(password: &SecretText) -> Self {
        let normalised = normalised(password);
        let typed = (normalised != *password).then(|| within_bounds(password));
        Self { normalised: within_bounds(&normalised), typed }
    }
}

/// Cuts a password that is longer than any stored one, so that hashing has a bound. The cut text
/// has one character more than the maximum, so it never matches.
fn within_bounds(password: &SecretText) -> SecretText {
    SecretText::new(password.expose().chars().take(MAX_LENGTH + 1).collect::<String>())
}

/// Space separators (general category Zs) other than U+0020.
const fn is_other_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_password_are_one_text() {
        let text = |password: &str| normalised(&SecretText::new(password)).expose().to_owned();
        assert_eq!(text("cafe\u{301} lampe"), "café lampe");
        assert_eq!(text("café\u{a0}lampe"), "café lampe");
        assert_eq!(text("ﬁn \0 K"), "ﬁn \0 K", "no compatibility mapping, no change of case");
    }

    #[test]
    fn a_typed_text_is_a_candidate_only_where_it_differs() {
        assert!(Candidates::of(&SecretText::new("lamp ostrich")).typed.is_none());
        let candidates = Candidates::of(&SecretText::new("e\u{301}".repeat(500)));
        assert_eq!(candidates.normalised.expose().chars().count(), MAX_LENGTH + 1);
        assert_eq!(candidates.typed.unwrap().expose().chars().count(), MAX_LENGTH + 1);
    }
}
