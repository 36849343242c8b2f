//! Passwords: rules, normalisation and hashing.

mod common;
mod hasher;
mod normalise;
mod priority;

pub(crate) use hasher::{Hasher, Verification};

use crate::error::AccountError;
use crate::secret_text::SecretText;
use crate::settings::PasswordRules;

/// Maximum length in characters, after normalisation: enough for any sentence, and a bound for hashing.
pub const MAX_LENGTH: usize = 128;

impl PasswordRules {
    /// Checks a new password of a user with these names.
    ///
    /// # Errors
    /// `Invalid`, with the rule that it breaks.
    pub fn check(&self, password: &SecretText, names: &[&str]) -> Result<(), AccountError> {
        let refused = |reason: String| Err(AccountError::Invalid { field: "password", reason });
        let password = normalise::normalised(password);
        let length = password.expose().chars().count();
        if length < self.min_length {
            return refused(format!("the password must have at least {} characters", self.min_length));
        }
        if length > MAX_LENGTH {
            return refused(format!("the password must have at most {MAX_LENGTH} characters"));
        }
        if self.refuse_common && common::is_easily_guessed(password.expose(), names) {
            return refused("the password is too easily guessed; use several unrelated words".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: [&str; 2] = ["Ann.Miller", "ann@example.org"];

    fn refusal(rules: PasswordRules, password: &str) -> Option<String> {
        rules.check(&SecretText::new(password), &ABOUT).err().map(|error| error.to_string())
    }

    #[test]
    fn a_password_has_a_least_and_a_largest_length_in_characters() {
        let rules = PasswordRules::default();
        let refused = refusal(rules, "kœ7!vñ2").unwrap();
        assert!(refused.contains("at least 8"), "{refused}");
        assert_eq!(refusal(rules, "kœ7!vñ2\u{1F600}"), None);
        assert_eq!(refusal(rules, &"lamp ostrich ".repeat(20)[..128]), None);
        let refused = refusal(rules, &"lamp ostrich ".repeat(20)[..129]).unwrap();
        assert!(refused.contains("at most 128"), "{refused}");
        assert!(refusal(PasswordRules { min_length: 20, ..rules }, "correct horse bat").is_some());
    }

    #[test]
    fn a_user_name_with_digits_is_no_password() {
        for (name, password) in [("max20011", "max20011"), ("j.smith12", "jsmith12"), ("max20011", "Max20011")] {
            let checked = PasswordRules::default().check(&SecretText::new(password), &[name]);
            assert!(checked.is_err(), "{password}");
        }
    }

    #[test]
    fn any_character_may_be_in_a_password() {
        for password in ["\0nul\tand\u{7}bell", "    spaces    ", "пароль из слов", "\u{202e}rtl\u{2066}xyz"]
        {
            assert_eq!(refusal(PasswordRules::default(), password), None, "{password:?}");
        }
    }

    #[test]
    fn common_passwords_are_refused_unless_allowed() {
        let guessed = [
            "password",
            "PassWord1",
            "p4ssw0rd!",
            "12345678",
            "qwertyuiop",
            "iloveyou",
            "baseball",
            "aaaaaaaa",
            "abcabcabc",
            "abcdefgh",
            "87654321",
            "ann.miller",
            "annmiller99",
            "ann@example.org",
            "sightline",
            "Sightline1!",
            "trustno1",
            "sunshine",
            "princess",
            "football1",
            "1q2w3e4r",
            "zaq12wsx",
        ];
        for password in guessed {
            assert!(refusal(PasswordRules::default(), password).is_some(), "{password}");
            let allowed = PasswordRules { refuse_common: false, ..PasswordRules::default() };
            assert_eq!(refusal(allowed, password), None, "{password}");
        }
        for password in ["correct horse battery", "lampostrich", "Tr0ub4dor&3x", "annexation-kettle"] {
            assert_eq!(refusal(PasswordRules::default(), password), None, "{password}");
        }
    }
}
