//! JSON Schemas of the events, for `docs/schemas/` and for producers and consumers in other languages.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::alert::AlertData;
use crate::face_upload::{FaceUpload, FaceVerifiedData};
use crate::media::{MediaProgress, MediaTask};
use crate::result::ResultData;

/// File name and schema of each JSON payload.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        (
            "result.v1.json",
            of::<ResultData>("The result of a detector on a frame", <crate::ResultEvent as crate::Event>::TYPE),
        ),
        ("alert.v1.json", of::<AlertData>("An alert", <crate::AlertEvent as crate::Event>::TYPE)),
        ("face-upload.v1.json", of::<FaceUpload>("A photograph of a user", <FaceUpload as crate::Event>::TYPE)),
        (
            "face-verified.v1.json",
            of::<FaceVerifiedData>("The outcome of an upload", <crate::FaceVerifiedEvent as crate::Event>::TYPE),
        ),
        (
            "media-task.v1.json",
            of::<MediaTask>("A step of a book, or a window of it", <crate::MediaTaskEvent as crate::Event>::TYPE),
        ),
        (
            "media-progress.v1.json",
            of::<MediaProgress>("How far a book is", <crate::MediaProgressEvent as crate::Event>::TYPE),
        ),
    ]
}

/// A self-contained JSON Schema (2020-12) of `T`: referenced schemas are under `$defs`.
fn of<T: ToSchema>(title: &str, event: &str) -> Value {
    let mut referenced: Vec<(String, RefOr<Schema>)> = Vec::new();
    T::schemas(&mut referenced);
    let root: RefOr<Schema> = T::schema();
    let mut document = serde_json::to_value(root).unwrap_or_default();
    let defs: serde_json::Map<String, Value> =
        referenced.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect();
    if let Some(object) = document.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("$id".to_owned(), json!(format!("urn:{}", event.replace('.', ":"))));
        object.insert("title".to_owned(), json!(title));
        object.insert("$defs".to_owned(), Value::Object(defs));
    }
    relocate(&mut document);
    document
}

/// Rewrites OpenAPI references to references within the schema.
fn relocate(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get_mut("$ref") {
                *target = target.replace("#/components/schemas/", "#/$defs/");
            }
            object.values_mut().for_each(relocate);
        }
        Value::Array(items) => items.iter_mut().for_each(relocate),
        _ => {}
    }
}
