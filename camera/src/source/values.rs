//! Values of the settings of a source.

use jiff::Timestamp;
use platform::sending::SIDE;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use settings::Secret;

/// A time that may be missing.
pub fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let wrong = |_| serde::de::Error::custom("captured_at: it must be a time such as 2026-01-02T03:04:05Z");
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

/// The error of a list of cameras, without the names that types have in Rust.
pub fn in_words(error: &serde_yaml_ng::Error) -> String {
    let words = [
        ("expected f64", "expected a number"),
        ("expected u64", "expected a whole number from 0"),
        ("expected a sequence", "expected a list"),
        ("expected a boolean", "expected true or false"),
        ("invalid type: sequence", "invalid type: list"),
        ("invalid type: unit value", "no value"),
    ];
    let text = words.iter().fold(error.to_string(), |text, (name, word)| text.replace(name, word));
    without_value(&text)
}

/// Without what stands behind the name of an unknown key: where the blank after a colon is missing, the value is taken for a part of it.
fn without_value(text: &str) -> String {
    const BEFORE: &str = "unknown field `";
    let Some((before, (key, after))) =
        text.split_once(BEFORE).and_then(|(before, rest)| Some((before, rest.split_once("`, ")?)))
    else {
        return text.to_owned();
    };
    let Some((name, value)) = key.find([':', ' ', '=']).map(|at| key.split_at(at)) else { return text.to_owned() };
    let advice = if value.starts_with(':') { ", with a blank missing after its colon" } else { "" };
    format!("{before}{BEFORE}{name}`{advice}, {after}")
}

/// What happens to frames when the server is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenSlow {
    /// All are kept: the source is read no faster than the server accepts its frames.
    Wait,
    /// The oldest are dropped and counted: the newest are the ones that matter.
    Drop,
}

/// Largest width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u32, pub u32);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let sides = text.split_once(['x', 'X']);
        let side = |text: &str| text.trim().parse().ok().filter(|side| SIDE.contains(side));
        let size = sides.and_then(|(width, height)| Some(Self(side(width)?, side(height)?)));
        let (least, most) = (SIDE.start(), SIDE.end());
        size.ok_or_else(|| {
            format!("resize: {text:?} is not a size such as 1280x720, with sides from {least} to {most}")
        })
    }
}

impl From<Size> for String {
    fn from(Size(width, height): Size) -> Self {
        format!("{width}x{height}")
    }
}

/// A text of a configuration that must not be shown. It is written out only for the process of its source.
#[derive(Debug, Clone)]
pub struct SecretText(Secret);

impl SecretText {
    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl From<Secret> for SecretText {
    fn from(secret: Secret) -> Self {
        Self(secret)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}
