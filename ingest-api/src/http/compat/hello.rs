//! `/v1/hello` and `/v2/hello`: two versions of one route. docs/EXTENDING.md explains this file.
//!
//! Each version has its own path, handler and body. Common code is in a function that both call.
//! The first version does not change as long as clients use it.

use api_kit::extract::{NoQuery, StrictQuery};
use api_kit::routes;
use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::extract::text;
use platform::query::{Invalid, Parameters, Query};

/// The name to greet if the client sends none.
const DEFAULT_NAME: &str = "world";

/// The routes of this file.
pub fn routes() -> Routes {
    routes![first, second]
}

/// A greeting of the first version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hello {
    /// The greeting.
    message: String,
}

/// Greets.
#[utoipa::path(
    get, path = "/v1/hello", operation_id = "hello", tag = "older clients",
    responses((status = 200, body = Hello))
)]
pub async fn first(_: NoQuery) -> Json<Hello> {
    Json(Hello { message: greeting(DEFAULT_NAME) })
}

/// The parameters of the second version.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HelloQuery {
    /// A name.
    #[param(min_length = 1, max_length = 128)]
    name: Option<String>,
}

impl Parameters for HelloQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { name: text(query, "name")? })
    }
}

/// A greeting of the second version, with the name.
#[derive(Debug, Serialize, ToSchema)]
pub struct HelloTo {
    /// The greeting.
    message: String,
    /// The name that it greets.
    name: String,
}

/// Greets by name.
#[utoipa::path(
    get, path = "/v2/hello", operation_id = "hello_by_name", tag = "older clients", params(HelloQuery),
    responses((status = 200, body = HelloTo))
)]
pub async fn second(StrictQuery(query): StrictQuery<HelloQuery>) -> Json<HelloTo> {
    let name = query.name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
    Json(HelloTo { message: greeting(&name), name })
}

fn greeting(name: &str) -> String {
    format!("Hello, {name}!")
}
