//! Values that must not appear in logs.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};

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

/// A connection string that begins with one of these schemes, such as `mongodb`. `example` is one for the error, which does not
/// show the value.
pub fn secret_url(schemes: &'static [&'static str], example: &'static str) -> impl TypedValueParser<Value = Secret> {
    SecretUrl { schemes, example }
}

#[derive(Clone)]
struct SecretUrl {
    schemes: &'static [&'static str],
    example: &'static str,
}

impl TypedValueParser for SecretUrl {
    type Value = Secret;

    /// Makes the error itself, because `clap` would quote the value.
    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Secret, clap::Error> {
        let text = value.to_str().unwrap_or_default().trim();
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        if scheme.is_some_and(|scheme| self.schemes.contains(&scheme.as_str())) {
            return Ok(Secret(text.to_owned()));
        }
        let flag = arg.and_then(Arg::get_long).map(|long| format!("--{long}: ")).unwrap_or_default();
        let error = format!("{flag}it must begin with {}://, such as {}\n", self.schemes[0], self.example);
        Err(clap::Error::raw(ErrorKind::ValueValidation, error))
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
