//! Named properties of a detection: text, number or boolean.
//!
//! A detector sets an attribute, such as a colour, a plate or a make. Filters, counts and rules read it by name, so a new property
//! needs no new field. The four attributes of a [`Vehicle`] are fields next to `label` on the wire, because they existed before
//! attributes. All others are in the object `attributes`:
//!
//! ```json
//! {"label": "car", "confidence": 0.9, "make": "Audi", "year": 2020, "attributes": {"colour": "red", "doors": 4}}
//! ```
//!
//! NUL characters in texts are dropped, in attributes and in filters alike: SQLite and MongoDB compare them differently.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::ids::IdError;

/// Maximum number of attributes of a detection, including the vehicle's four attributes.
pub const MAX_ATTRIBUTES: usize = 16;
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
pub struct AttributeName(String);

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
            ("category" | "make" | "model", _) => Err("must be a text".to_owned()),
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
#[serde(untagged, expecting = "an attribute must be a text, a number, true or false")]
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

    fn without_nul(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(without_nul(text)),
            other => other,
        }
    }
}

fn without_nul(text: String) -> String {
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

/// The attributes of one detection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WireAttributes", into = "WireAttributes")]
pub struct Attributes(BTreeMap<AttributeName, AttributeValue>);

impl Attributes {
    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.0.get(name)
    }

    /// The value of a text attribute; `None` if it is missing or has another type.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(AttributeValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of a number attribute; `None` if it is missing or has another type.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(AttributeValue::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The value of a boolean attribute; `None` if it is missing or has another type.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(AttributeValue::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// Class of a vehicle, such as `SUV`.
    pub fn category(&self) -> Option<&str> {
        self.text("category")
    }

    /// Make of a vehicle, such as `Audi`.
    pub fn make(&self) -> Option<&str> {
        self.text("make")
    }

    /// Model of a vehicle, such as `Q3`.
    pub fn model(&self) -> Option<&str> {
        self.text("model")
    }

    /// Model year of a vehicle.
    pub fn year(&self) -> Option<i32> {
        self.number("year").and_then(integer)
    }

    /// The four attributes of a vehicle.
    pub fn vehicle(&self) -> Vehicle {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Vehicle {
            category: owned(self.category()),
            make: owned(self.make()),
            model: owned(self.model()),
            year: self.year(),
        }
    }

    /// Whether at least one of the vehicle's four attributes is set.
    pub fn is_vehicle(&self) -> bool {
        Vehicle::NAMES.iter().any(|name| self.0.contains_key(*name))
    }

    /// All attributes except the vehicle's four attributes, ordered by name.
    pub fn others(&self) -> impl Iterator<Item = (&AttributeName, &AttributeValue)> {
        self.0.iter().filter(|(name, _)| !Vehicle::NAMES.contains(&name.as_str()))
    }

    /// Sets an attribute or replaces its value.
    pub fn set(&mut self, name: AttributeName, value: impl Into<AttributeValue>) {
        self.0.insert(name, value.into().without_nul());
    }

    /// Combines the vehicle's four attributes with `others`.
    ///
    /// # Errors
    /// If `others` has one of the four with another value.
    pub fn merge(vehicle: Vehicle, others: BTreeMap<AttributeName, AttributeValue>) -> Result<Self, AttributesError> {
        let mut others: BTreeMap<_, _> = others.into_iter().map(|(name, value)| (name, value.without_nul())).collect();
        let Vehicle { category, make, model, year } = vehicle;
        let texts = [("category", category), ("make", make), ("model", model)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, AttributeValue::Text(without_nul(text?)))));
        for (name, value) in texts.chain(year.map(|year| ("year", year.into()))) {
            let twice = others.insert(AttributeName(name.to_owned()), value.clone());
            if twice.is_some_and(|other| other != value) {
                return Err(AttributesError(format!("{name} and attributes.{name} differ; send one of them")));
            }
        }
        Ok(Self(others))
    }

    /// Checks the number of attributes, and the type and size of each value.
    ///
    /// # Errors
    /// Names the invalid attribute and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if self.0.len() > MAX_ATTRIBUTES {
            return Err(format!("attributes must be at most {MAX_ATTRIBUTES}"));
        }
        for (name, value) in &self.0 {
            let place = if Vehicle::NAMES.contains(&name.as_str()) { "" } else { "attributes." };
            name.check(value).map_err(|reason| format!("{place}{name} {reason}"))?;
        }
        Ok(())
    }
}

/// The number as an integer; `None` if it has a fraction or does not fit.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before the cast")]
fn integer(number: f64) -> Option<i32> {
    let fits = number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
    fits.then_some(number as i32)
}

/// An attribute is given twice with different values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AttributesError(String);

/// The four attributes with their own fields on the wire. Any may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vehicle {
    /// Class, such as `SUV`.
    pub category: Option<String>,
    /// Make, such as `Audi`.
    pub make: Option<String>,
    /// Model, such as `Q3`.
    pub model: Option<String>,
    /// Model year.
    pub year: Option<i32>,
}

impl Vehicle {
    /// The names of the four attributes.
    pub const NAMES: [&'static str; 4] = ["category", "make", "model", "year"];
}

impl From<Vehicle> for Attributes {
    fn from(vehicle: Vehicle) -> Self {
        // Without other attributes there is no contradiction, so this cannot fail.
        Self::merge(vehicle, BTreeMap::new()).unwrap_or_default()
    }
}

/// Properties of an object besides its label. All are optional.
#[derive(Serialize, Deserialize, ToSchema)]
struct WireAttributes {
    /// Class of a vehicle, such as `SUV`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// Make of a vehicle, such as `Audi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    make: Option<String>,
    /// Model of a vehicle, such as `Q3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Model year of a vehicle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    year: Option<i32>,
    /// Further attributes by name (`[a-z][a-z0-9_]{0,31}`): texts of at most 256 bytes, finite numbers or booleans. At most 16,
    /// including the fields of a vehicle.
    #[serde(default, deserialize_with = "null_as_empty", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = extra_attributes_schema, required = false)]
    attributes: BTreeMap<AttributeName, AttributeValue>,
}

impl TryFrom<WireAttributes> for Attributes {
    type Error = AttributesError;

    fn try_from(wire: WireAttributes) -> Result<Self, AttributesError> {
        let WireAttributes { category, make, model, year, attributes } = wire;
        Self::merge(Vehicle { category, make, model, year }, attributes)
    }
}

impl From<Attributes> for WireAttributes {
    fn from(attributes: Attributes) -> Self {
        let Vehicle { category, make, model, year } = attributes.vehicle();
        let mut others = attributes.0;
        others.retain(|name, _| !Vehicle::NAMES.contains(&name.as_str()));
        Self { category, make, model, year, attributes: others }
    }
}

/// Deserialises null as an empty map.
pub(crate) fn null_as_empty<'de, D>(deserializer: D) -> Result<BTreeMap<AttributeName, AttributeValue>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Schema of the object `attributes`. It allows null, as the other optional fields do.
pub(crate) fn extra_attributes_schema() -> Schema {
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z][a-z0-9_]{0,31}$"));
    let value = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Number, Type::Boolean]))
        .max_length(Some(MAX_TEXT_BYTES));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some(
            "Further attributes by name: texts of at most 256 bytes, finite numbers or booleans. At most 16, including the \
             fields of a vehicle.",
        ))
        .max_properties(Some(MAX_ATTRIBUTES))
        .property_names(Some(name))
        .additional_properties(Some(value))
        .into()
}

impl PartialSchema for Attributes {
    fn schema() -> RefOr<Schema> {
        WireAttributes::schema()
    }
}

impl ToSchema for Attributes {
    fn name() -> std::borrow::Cow<'static, str> {
        "Attributes".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        WireAttributes::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Attributes, String> {
        let read: Attributes = serde_json::from_str(json).map_err(|error| error.to_string())?;
        read.check().map(|()| read)
    }

    #[test]
    fn attributes_round_trip() {
        for json in [
            "{}",
            r#"{"category":"SUV","make":"Audi","model":"Q3","year":2020}"#,
            r#"{"make":"","attributes":{"colour":"red","doors":4,"height":1.5,"parked":true}}"#,
            r#"{"attributes":{"large":1e300,"n":-3,"text":"4"}}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json.replace("1e300", "1e+300"));
        }
    }

    #[test]
    fn vehicle_fields_are_attributes() {
        let read = read(r#"{"make":"Audi","year":2020,"attributes":{"model":"Q3","year":2020}}"#).unwrap();
        assert_eq!((read.text("make"), read.model(), read.year()), (Some("Audi"), Some("Q3"), Some(2020)));
        assert!(read.is_vehicle() && read.others().count() == 0);
    }

    #[test]
    fn nul_characters_are_dropped() {
        let read = read(r#"{"make":"Au\u0000di","attributes":{"colour":"red\u0000","make":"Audi\u0000"}}"#).unwrap();
        assert_eq!((read.make(), read.text("colour")), (Some("Audi"), Some("red")));
        assert_eq!(AttributeValue::possible_values("re\0d"), [AttributeValue::from("red")]);
        let mut set = Attributes::default();
        set.set("plate".parse().unwrap(), "\0B 1");
        assert_eq!(set.text("plate"), Some("B 1"));
    }

    #[test]
    fn an_invalid_attribute_error_names_it() {
        let many: Vec<String> = (0..17).map(|n| format!("\"a{n}\":1")).collect();
        for (json, expected) in [
            (r#"{"attributes":{"Colour":"red"}}"#.to_owned(), "a-z 0-9 _"),
            (r#"{"attributes":{"":"red"}}"#.to_owned(), "1 to 32 characters"),
            (r#"{"attributes":{"a":null}}"#.to_owned(), "a text, a number, true or false"),
            (r#"{"attributes":{"a":[1]}}"#.to_owned(), "a text, a number, true or false"),
            (r#"{"make":"Audi","attributes":{"make":"VW"}}"#.to_owned(), "make and attributes.make differ"),
            (r#"{"attributes":{"make":1}}"#.to_owned(), "make must be a text"),
            (r#"{"attributes":{"year":2020.5}}"#.to_owned(), "year must be a whole number"),
            (format!(r#"{{"attributes":{{"a":"{}"}}}}"#, "x".repeat(257)), "attributes.a must have at most 256 bytes"),
            (format!(r#"{{"make":"{}"}}"#, "x".repeat(129)), "make must have at most 128 characters"),
            (format!(r#"{{"attributes":{{{}}}}}"#, many.join(",")), "at most 16"),
        ] {
            let error = read(&json).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn a_query_text_may_mean_a_number_or_a_boolean() {
        let text = |text: &str| AttributeValue::from(text);
        assert_eq!(AttributeValue::possible_values("red"), [text("red")]);
        assert_eq!(AttributeValue::possible_values("4"), [text("4"), AttributeValue::Number(4.0)]);
        assert_eq!(AttributeValue::possible_values("true"), [text("true"), AttributeValue::Bool(true)]);
        assert_eq!(AttributeValue::possible_values("nan"), [text("nan")]);
    }
}
