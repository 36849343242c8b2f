//! Attributes on the wire: the vehicle's four attributes as fields, all others in the object `attributes`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::value::{AttributeName, AttributeValue, MAX_TEXT_BYTES};
use super::{Attributes, AttributesError, MAX_ATTRIBUTES, Vehicle};

/// Properties of an object besides its label. All are optional.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct WireAttributes {
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

/// Deserialises null as an empty map. A name may be given twice with the same value only: programs that read JSON disagree on which
/// of two values counts.
pub(crate) fn null_as_empty<'de, D>(deserializer: D) -> Result<BTreeMap<AttributeName, AttributeValue>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::<UniqueAttributes>::deserialize(deserializer)?.unwrap_or_default().0)
}

#[derive(Default)]
struct UniqueAttributes(BTreeMap<AttributeName, AttributeValue>);

impl<'de> Deserialize<'de> for UniqueAttributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = UniqueAttributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueAttributes, A::Error> {
        let mut unique = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<AttributeName, AttributeValue>()? {
            let value = value.without_nul();
            match unique.entry(name) {
                Entry::Vacant(new) => drop(new.insert(value)),
                Entry::Occupied(known) if *known.get() == value => {}
                Entry::Occupied(known) => {
                    return Err(A::Error::custom(AttributesError::given_twice(known.key())));
                }
            }
        }
        Ok(UniqueAttributes(unique))
    }
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
