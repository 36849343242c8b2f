//! `/v1/hello` and `/v2/hello`: how two versions of one thing live side by side. docs/EXTENDING.md walks through this file.
//!
//! A version is a path of its own with a handler and a body of its own; what both need is shared below them. The first one
//! keeps its shape for as long as anybody asks for it.

use axum::Json;
use axum::routing::get;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::docs::OpenProblems;
use crate::http::extract::{NoQuery, Strict, text};
use platform::query::{Invalid, Parameters, Query};

/// Whom to greet when nobody says so.
const WORLD: &str = "world";

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/hello", get(first)), ("/v2/hello", get(second))]
}

/// A greeting of the first version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hello {
    /// The greeting.
    message: String,
}

/// Greets.
#[utoipa::path(
    get, path = "/v1/hello", operation_id = "hello", tag = "older clients", security(()),
    responses((status = 200, body = Hello), OpenProblems)
)]
pub async fn first(_: NoQuery) -> Json<Hello> {
    Json(Hello { message: greeting(WORLD) })
}

/// Whom to greet.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Whom {
    /// A name.
    #[param(min_length = 1, max_length = 128)]
    name: Option<String>,
}

impl Parameters for Whom {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { name: text(query, "name")? })
    }
}

/// A greeting of the second version, which says to whom it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct HelloTo {
    /// The greeting.
    message: String,
    /// Whom it greets.
    name: String,
}

/// Greets by name.
#[utoipa::path(
    get, path = "/v2/hello", operation_id = "hello_by_name", tag = "older clients", security(()), params(Whom),
    responses((status = 200, body = HelloTo), OpenProblems)
)]
pub async fn second(Strict(asked): Strict<Whom>) -> Json<HelloTo> {
    let name = asked.name.unwrap_or_else(|| WORLD.to_owned());
    Json(HelloTo { message: greeting(&name), name })
}

fn greeting(name: &str) -> String {
    format!("Hello, {name}!")
}
