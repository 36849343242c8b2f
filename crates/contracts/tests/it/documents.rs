//! JSON Schemas and the AsyncAPI document match the types.

use contracts::{Topics, asyncapi, schemas, topics};
use serde_json::Value;

use crate::assert_file;

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

#[test]
fn schemas_match_the_events() {
    for (name, schema) in schemas::all() {
        assert_file(&format!("../../docs/schemas/{name}"), &pretty(&schema));
    }
}

#[test]
fn the_asyncapi_document_matches_the_topics() {
    let topics = Topics::parse(topics::DEFAULT).unwrap().with_audio(true);
    assert_file("../../docs/asyncapi.json", &pretty(&asyncapi::document(&topics)));
}

#[test]
fn every_schema_reference_resolves() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    for (name, schema) in schemas::all() {
        let mut found = Vec::new();
        references(&schema, &mut found);
        assert!(!found.is_empty(), "{name} has no references");
        for reference in found {
            assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{name}: {reference}");
        }
    }
}
