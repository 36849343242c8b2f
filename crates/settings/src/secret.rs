//! Values that must not appear in logs.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A text that prints as `***`. Parsing trims white space at both ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself. The caller must not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

/// Checks that a token can be sent in the header `authorization`.
///
/// # Errors
/// When a character is not visible ASCII. The message does not show the token.
pub fn check_token(token: &str) -> Result<(), String> {
    if token.chars().all(|character| character.is_ascii_graphic()) {
        return Ok(());
    }
    Err("the token has a blank, a line end or another character that no request can carry; only visible ASCII characters are valid".to_owned())
}
