//! Named properties of a detection: text, number or boolean.
//!
//! A detector that knows a colour, a plate or a vehicle's make sets an attribute; filters, counts and rules then read it by
//! name, so a new property needs no new field. Four names are older than attributes: `category`, `make`, `model` and
//! `year` ([`Vehicle`]). On the wire they stand beside `label`, as they always did; all others stand in the object
//! `attributes`:
//!
//! ```json
//! {"label": "car", "confidence": 0.9, "make": "Audi", "year": 2020, "attributes": {"colour": "red", "doors": 4}}
//! ```

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::ids::IdError;

/// Attributes that a detection may have, the vehicle's four included.
pub const MAX_ATTRIBUTES: usize = 16;
/// Longest text of an attribute in bytes.
pub const MAX_TEXT_BYTES: usize = 256;
/// Longest `category`, `make` or `model` in characters.
const MAX_VEHICLE_CHARS: usize = 128;
/// Longest name in bytes.
const MAX_NAME_BYTES: usize = 32;
/// Whole numbers up to this magnitude are exact in 64-bit floats and are written without a fraction.
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

    /// Whether an attribute of this name may have `value`: its kind and its size.
    ///
    /// # Errors
    /// Says what would be right, such as `must be a whole number`.
    pub fn check(&self, value: &AttributeValue) -> Result<(), String> {
        match (self.as_str(), value) {
            ("category" | "make" | "model", AttributeValue::Text(text)) => {
                let fits = text.chars().count() <= MAX_VEHICLE_CHARS;
                if fits { Ok(()) } else { Err(format!("must have at most {MAX_VEHICLE_CHARS} characters")) }
            }
            ("category" | "make" | "model", _) => Err("must be a text".to_owned()),
            ("year", AttributeValue::Number(number)) if whole(*number).is_some() => Ok(()),
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
        let starts_well = text.starts_with(|first: char| first.is_ascii_lowercase());
        if starts_well && text.len() <= MAX_NAME_BYTES && text.bytes().all(allowed) {
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

/// Value of an attribute. JSON's text, number, or `true` and `false`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "an attribute must be a text, a number, true or false")]
pub enum AttributeValue {
    /// At most [`MAX_TEXT_BYTES`] bytes.
    Text(String),
    /// A finite number.
    Number(f64),
    /// True or false.
    Bool(bool),
}

impl AttributeValue {
    /// What a text in a query string may stand for: the text itself, and the number or boolean that is written like it.
    pub fn possible_values(text: &str) -> Vec<Self> {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Number);
        let boolean = text.parse().ok().map(Self::Bool);
        [Some(Self::Text(text.to_owned())), number, boolean].into_iter().flatten().collect()
    }
}

impl Serialize for AttributeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            #[expect(clippy::cast_possible_truncation, reason = "a whole number of this size fits")]
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
    /// The value under a name.
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.0.get(name)
    }

    /// The text under a name; nothing where there is none or it is no text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(AttributeValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The number under a name; nothing where there is none or it is no number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(AttributeValue::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The boolean under a name; nothing where there is none or it is neither true nor false.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(AttributeValue::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// A vehicle's class, such as `SUV`.
    pub fn category(&self) -> Option<&str> {
        self.text("category")
    }

    /// A vehicle's maker, such as `Audi`.
    pub fn make(&self) -> Option<&str> {
        self.text("make")
    }

    /// The maker's name for a vehicle, such as `Q3`.
    pub fn model(&self) -> Option<&str> {
        self.text("model")
    }

    /// A vehicle's model year.
    pub fn year(&self) -> Option<i32> {
        self.number("year").and_then(whole)
    }

    /// The vehicle's four.
    pub fn vehicle(&self) -> Vehicle {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Vehicle {
            category: owned(self.category()),
            make: owned(self.make()),
            model: owned(self.model()),
            year: self.year(),
        }
    }

    /// Whether any of the vehicle's four is known.
    pub fn is_vehicle(&self) -> bool {
        Vehicle::NAMES.iter().any(|name| self.0.contains_key(*name))
    }

    /// All but the vehicle's four, by name.
    pub fn others(&self) -> impl Iterator<Item = (&AttributeName, &AttributeValue)> {
        self.0.iter().filter(|(name, _)| !Vehicle::NAMES.contains(&name.as_str()))
    }

    /// Sets one, in place of what the name had.
    pub fn set(&mut self, name: AttributeName, value: impl Into<AttributeValue>) {
        self.0.insert(name, value.into());
    }

    /// Adds `others` to the vehicle's four.
    ///
    /// # Errors
    /// When one of the four stands among the others with another value.
    pub fn merge(
        vehicle: Vehicle,
        mut others: BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<Self, AttributesError> {
        let Vehicle { category, make, model, year } = vehicle;
        let texts = [("category", category), ("make", make), ("model", model)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, AttributeValue::Text(text?))));
        for (name, value) in texts.chain(year.map(|year| ("year", year.into()))) {
            let twice = others.insert(AttributeName(name.to_owned()), value.clone());
            if twice.is_some_and(|other| other != value) {
                return Err(AttributesError(format!("{name} and attributes.{name} differ; send one of them")));
            }
        }
        Ok(Self(others))
    }

    /// Whether there are not too many, and every value is of its kind and size.
    ///
    /// # Errors
    /// Says which attribute is wrong and what would be right.
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

/// A number without a fraction that fits.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn whole(number: f64) -> Option<i32> {
    let fits = number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
    fits.then_some(number as i32)
}

/// Attributes that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AttributesError(String);

/// What is known of a vehicle: the four attributes that have fields of their own on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vehicle {
    /// Its class, such as `SUV`.
    pub category: Option<String>,
    /// Its maker, such as `Audi`.
    pub make: Option<String>,
    /// Its maker's name for it, such as `Q3`.
    pub model: Option<String>,
    /// Its model year.
    pub year: Option<i32>,
}

impl Vehicle {
    /// The names of the four.
    pub const NAMES: [&'static str; 4] = ["category", "make", "model", "year"];
}

impl From<Vehicle> for Attributes {
    fn from(vehicle: Vehicle) -> Self {
        // Nothing stands beside the four that could differ.
        Self::merge(vehicle, BTreeMap::new()).unwrap_or_default()
    }
}

/// What is known of the object beside its label. A vehicle's fields may all be missing.
#[derive(Serialize, Deserialize, ToSchema)]
struct WireAttributes {
    /// A vehicle's class, such as `SUV`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// A vehicle's maker, such as `Audi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    make: Option<String>,
    /// Its maker's name for a vehicle, such as `Q3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// A vehicle's model year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    year: Option<i32>,
    /// Further attributes by name (`[a-z][a-z0-9_]{0,31}`): texts of at most 256 bytes, finite numbers, true or false. A
    /// detection has at most 16, a vehicle's fields included.
    #[serde(default, deserialize_with = "or_none", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = others_schema, required = false)]
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

/// A missing `attributes` and a null are none.
pub(crate) fn or_none<'de, D>(deserializer: D) -> Result<BTreeMap<AttributeName, AttributeValue>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Schema of the object `attributes`; null is an empty one, as for the other optional fields.
pub(crate) fn others_schema() -> Schema {
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z][a-z0-9_]{0,31}$"));
    let value = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Number, Type::Boolean]))
        .max_length(Some(MAX_TEXT_BYTES));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some(
            "Further attributes by name: texts of at most 256 bytes, finite numbers, true or false. At most 16, a vehicle's \
             fields included.",
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
    fn attributes_are_written_as_they_were_read() {
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
    fn the_vehicles_four_are_attributes_like_any_other() {
        let read = read(r#"{"make":"Audi","year":2020,"attributes":{"model":"Q3","year":2020}}"#).unwrap();
        assert_eq!((read.text("make"), read.model(), read.year()), (Some("Audi"), Some("Q3"), Some(2020)));
        assert!(read.is_vehicle() && read.others().count() == 0);
    }

    #[test]
    fn what_no_attribute_can_be_is_refused_naming_it() {
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
    fn a_text_of_a_query_may_be_a_number_or_a_boolean() {
        let text = |text: &str| AttributeValue::from(text);
        assert_eq!(AttributeValue::possible_values("red"), [text("red")]);
        assert_eq!(AttributeValue::possible_values("4"), [text("4"), AttributeValue::Number(4.0)]);
        assert_eq!(AttributeValue::possible_values("true"), [text("true"), AttributeValue::Bool(true)]);
        assert_eq!(AttributeValue::possible_values("nan"), [text("nan")]);
    }
}
