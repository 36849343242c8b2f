//! `GET /v1/models`: the installed models, under their names in `models.yaml`.

use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde_json::{Value, json};

use super::Service;
use super::error::OpenAiError;

/// All models.
pub(super) async fn list(State(service): State<Service>, headers: HeaderMap) -> Result<Json<Value>, OpenAiError> {
    service.authorise(&headers)?;
    let models: Vec<Value> = service.0.engine.models().iter().map(|model| view(&model.name)).collect();
    Ok(Json(json!({"object": "list", "data": models})))
}

/// One model.
pub(super) async fn one(
    State(service): State<Service>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Value>, OpenAiError> {
    service.authorise(&headers)?;
    let models = service.0.engine.models();
    let model = models.iter().find(|model| model.name == name);
    let model = model.ok_or_else(|| OpenAiError::unknown_model("there is no such model; GET /v1/models lists them"))?;
    Ok(Json(view(&model.name)))
}

/// `created` is of the interface; a file has no such time.
fn view(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "sightline"})
}
