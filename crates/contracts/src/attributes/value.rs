//! Name and value of an attribute.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::ids::IdError;

/// Maximum length of a text attribute in bytes.
pub const MAX_TEXT_BYTES: usize = 256;
/// Maximum length of `category`, `make` and `model` in characters.
const MAX_VEHICLE_CHARS: usize = 128;
/// Maximum length of a name in bytes.
const MAX_NAME_BYTES: usize = 32;
/// 2^53. Integers up to this magnitude are exact as `f64`; they are written without a fraction.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Name of an attribute: `[a-z][a-z0-9_]{0,31}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttributeName(pub(super) String);

impl AttributeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks the type and size of a value of this attribute.
    ///
    /// # Errors
    /// Says what is allowed, such as `must be a whole number`.
    pub fn check(&self, value: &AttributeValue) -> Result<(), String> {
        match (self.as_str(), value) {
            ("category" | "make" | "model", AttributeValue::Text(text)) => {
                let fits = text.chars().count() <= MAX_VEHICLE_CHARS;
                if fits { Ok(()) } else { Err(format!("must have at most {MAX_VEHICLE_CHARS} characters")) }
            }
            ("category" | "make" | "model", _) => Err("must be a string".to_owned()),
            ("year", AttributeValue::Number(number)) if integer(*number).is_some() => Ok(()),
            ("year", _) => Err("must be a whole number".to_owned()),
            (_, AttributeValue::Text(text)) if text.len() > MAX_TEXT_BYTES => {
                Err(format!("must have at most {MAX_TEXT_BYTES} bytes"))
            }
            (_, AttributeValue::Number(number)) if !number.is_finite() => Err("must be a finite number".to_owned()),
            _ => Ok(()),
        }
    }
}

impl FromStr for AttributeName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let starts_with_letter = text.starts_with(|first: char| first.is_ascii_lowercase());
        if starts_with_letter && text.len() <= MAX_NAME_BYTES && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError::NotName {
            what: "the name of an attribute",
            min: 1,
            max: MAX_NAME_BYTES,
            alphabet: "a-z 0-9 _, the first a letter",
        })
    }
}

impl TryFrom<String> for AttributeName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<AttributeName> for String {
    fn from(name: AttributeName) -> Self {
        name.0
    }
}

impl Borrow<str> for AttributeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Value of an attribute: a JSON string, number or boolean.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "an attribute must be a string, a number, true or false")]
pub enum AttributeValue {
    /// At most [`MAX_TEXT_BYTES`] bytes.
    Text(String),
    /// A finite number; whole numbers are exact up to 2^53.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
}

impl AttributeValue {
    /// The values that a text in a query string may mean: the text, and a number or boolean that is written like it.
    pub fn possible_values(text: &str) -> Vec<Self> {
        let text = without_nul(text.to_owned());
        let number = text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Number);
        let boolean = text.parse().ok().map(Self::Bool);
        [Some(Self::Text(text)), number, boolean].into_iter().flatten().collect()
    }

    pub(super) fn without_nul(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(without_nul(text)),
            other => other,
        }
    }
}

pub(super) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "") } else { text }
}

impl Serialize for AttributeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            #[expect(clippy::cast_possible_truncation, reason = "integers up to 2^53 fit")]
            Self::Number(number) if number.fract() == 0.0 && number.abs() <= MAX_EXACT => {
                serializer.serialize_i64(*number as i64)
            }
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for AttributeValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for AttributeValue {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// The number as an integer; `None` if it has a fraction or does not fit.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before the cast")]
pub(super) fn integer(number: f64) -> Option<i32> {
    let fits = number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
    fits.then_some(number as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_text_may_mean_a_number_or_a_boolean() {
        let text = |text: &str| AttributeValue::from(text);
        assert_eq!(AttributeValue::possible_values("red"), [text("red")]);
        assert_eq!(AttributeValue::possible_values("4"), [text("4"), AttributeValue::Number(4.0)]);
        assert_eq!(AttributeValue::possible_values("true"), [text("true"), AttributeValue::Bool(true)]);
        assert_eq!(AttributeValue::possible_values("nan"), [text("nan")]);
    }
}
