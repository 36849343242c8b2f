//! Filters by attribute (`attributes.NAME=VALUE`), and the names of attributes in other parameters.
//!
//! Names and values are checked like those of a detection's attributes, so a filter that no detection can match is refused.
//! A value has no type: it matches an attribute with this text, and the number or boolean with this text form.

use contracts::attributes::{MAX_ATTRIBUTES, MAX_TEXT_BYTES};
use contracts::{AttributeName, AttributeValue};
use platform::query::{Invalid, Parameters, Query, shown};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::{ObjectBuilder, Required, Type};

/// Prefix of the name of a parameter or group that is an attribute.
const PREFIX: &str = "attributes.";
/// The pattern of such a name.
pub const PATTERN: &str = r"^attributes\.[a-z][a-z0-9_]{0,31}$";

/// The attributes that a detection must have; at most as many as a detection can have.
#[derive(Debug)]
pub struct AttributeFilters(pub Vec<(AttributeName, String)>);

impl Parameters for AttributeFilters {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let given = query.prefixed(PREFIX, MAX_ATTRIBUTES)?;
        given.into_iter().map(|(name, value)| filter(&name, value)).collect::<Result<_, _>>().map(Self)
    }
}

fn filter(name: &str, text: String) -> Result<(AttributeName, String), Invalid> {
    let name = parse_name(name)?;
    let mut reason = String::new();
    for value in AttributeValue::possible_values(&text) {
        match name.check(&value) {
            Ok(()) => return Ok((name, text)),
            Err(refused) => reason = refused,
        }
    }
    Err(Invalid(format!("{PREFIX}{name} {reason}")))
}

/// The attribute in a text such as `attributes.colour`; `None` for a text without the prefix.
///
/// # Errors
/// When the name is not valid for an attribute.
pub fn attribute(text: &str) -> Option<Result<AttributeName, Invalid>> {
    text.strip_prefix(PREFIX).map(parse_name)
}

fn parse_name(name: &str) -> Result<AttributeName, Invalid> {
    name.parse().map_err(|error| Invalid(format!("{PREFIX}{}: {error}", shown(name))))
}

/// In the document, all filters are one parameter: an object whose properties are separate query parameters.
impl utoipa::IntoParams for AttributeFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some(PATTERN));
        let value = ObjectBuilder::new().schema_type(Type::String).max_length(Some(MAX_TEXT_BYTES));
        let filters = ObjectBuilder::new()
            .property_names(Some(name))
            .additional_properties(Some(value))
            .max_properties(Some(MAX_ATTRIBUTES));
        let parameter = ParameterBuilder::new()
            .name("attributes")
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .style(Some(ParameterStyle::Form))
            .explode(Some(true))
            .schema(Some(filters))
            .description(Some(
                "With these attributes, each as a parameter `attributes.NAME=VALUE`, such as `attributes.colour=red`. The value \
                 matches a text that equals it, and a number or boolean that it denotes: `4` matches the text and the number. \
                 `attributes.subject=ID` also finds detections from before another subject was merged into this one. At most 16",
            ));
        vec![parameter.build()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Vec<(String, String)>, String> {
        let read = Query::read::<AttributeFilters>(&format!("/v1/detections?{query}").parse().unwrap());
        let filters = read.map_err(|error| error.to_string())?.0;
        Ok(filters.into_iter().map(|(name, text)| (name.to_string(), text)).collect())
    }

    #[test]
    fn filters_accept_every_valid_attribute() {
        let longest = "x".repeat(256);
        for value in ["red", "", "4", "-1.5", "true", "a\0b", "1e999", &longest] {
            let written: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            assert_eq!(read(&format!("attributes.a={written}")), Ok(vec![("a".to_owned(), value.to_owned())]));
        }
        let many: Vec<String> = (0..16).map(|number| format!("attributes.a{number}=1")).collect();
        assert_eq!(read(&many.join("&")).unwrap().len(), 16);
        assert_eq!(read("attributes.year=2020&attributes.make=Audi").unwrap().len(), 2);
    }

    #[test]
    fn refusals_name_the_parameter_and_what_is_allowed() {
        let (long_name, long_text, long_make) = ("n".repeat(33), "x".repeat(257), "x".repeat(129));
        let many: Vec<String> = (0..17).map(|number| format!("attributes.a{number}=1")).collect();
        for (query, parameter, allowed) in [
            ("attributes.Colour=red", "attributes.Colour", "a-z 0-9 _"),
            ("attributes.=red", "attributes.", "1 to 32 characters"),
            ("attributes.a.b=red", "attributes.a.b", "a-z 0-9 _"),
            (&format!("attributes.{long_name}=red"), &long_name, "1 to 32 characters"),
            (&format!("attributes.a={long_text}"), "attributes.a", "must have at most 256 bytes"),
            (&format!("attributes.make={long_make}"), "attributes.make", "must have at most 128 characters"),
            ("attributes.year=new", "attributes.year", "must be a whole number"),
            ("attributes.year=2020.5", "attributes.year", "must be a whole number"),
            ("attributes.a=1&attributes.a=2", "attributes.a", "send it once"),
            (&many.join("&"), "attributes.NAME", "at most 16"),
            ("attributes=red", "attributes", "the parameters are attributes.NAME"),
        ] {
            let refused = read(query).unwrap_err();
            assert!(refused.contains(parameter) && refused.contains(allowed), "{query}: {refused}");
        }
    }
}
