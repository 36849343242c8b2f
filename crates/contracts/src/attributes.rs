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

mod value;
mod wire;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use value::{integer, without_nul};
use wire::WireAttributes;

pub use value::{AttributeName, AttributeValue, MAX_TEXT_BYTES};
pub(crate) use wire::{extra_attributes_schema, null_as_empty};

/// Maximum number of attributes of a detection, including the vehicle's four attributes.
pub const MAX_ATTRIBUTES: usize = 16;

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

    /// Whether they are those of the face of a stranger: it was compared and is nobody who is enrolled, or it could not be compared.
    pub fn is_stranger(&self) -> bool {
        matches!(self.text("identity"), Some("unknown" | "unchecked"))
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

/// An attribute is given twice with different values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AttributesError(String);

impl AttributesError {
    /// The error for a name that occurs twice in the object `attributes`.
    fn given_twice(name: &AttributeName) -> Self {
        Self(format!("attributes.{name} is given twice with different values; send one of them"))
    }
}

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
    fn an_attribute_given_twice_with_one_value_counts_once() {
        let read = read(r#"{"attributes":{"colour":"red","colour":"red\u0000","doors":4,"doors":4.0}}"#).unwrap();
        assert_eq!((read.text("colour"), read.number("doors")), (Some("red"), Some(4.0)));
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
            (r#"{"attributes":{"a":null}}"#.to_owned(), "a string, a number, true or false"),
            (r#"{"attributes":{"a":[1]}}"#.to_owned(), "a string, a number, true or false"),
            (r#"{"make":"Audi","attributes":{"make":"VW"}}"#.to_owned(), "make and attributes.make differ"),
            (r#"{"attributes":{"a":1,"b":2,"a":2}}"#.to_owned(), "attributes.a is given twice with different values"),
            (r#"{"attributes":{"a":1,"a":"1"}}"#.to_owned(), "attributes.a is given twice with different values"),
            (r#"{"make":"Audi","make":"Audi"}"#.to_owned(), "duplicate field"),
            (r#"{"attributes":{"a":1},"attributes":{"b":1}}"#.to_owned(), "duplicate field"),
            (r#"{"attributes":{"make":1}}"#.to_owned(), "make must be a string"),
            (r#"{"attributes":{"year":2020.5}}"#.to_owned(), "year must be a whole number"),
            (format!(r#"{{"attributes":{{"a":"{}"}}}}"#, "x".repeat(257)), "attributes.a must have at most 256 bytes"),
            (format!(r#"{{"make":"{}"}}"#, "x".repeat(129)), "make must have at most 128 characters"),
            (format!(r#"{{"attributes":{{{}}}}}"#, many.join(",")), "at most 16"),
        ] {
            let error = read(&json).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
