//! Swagger UI at `/docs`, for the document at `/openapi.json`. Its files are unpacked by `build.rs`.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// Starts Swagger UI in the page.
const INITIALIZER: &str = r##"window.onload = function() {
  window.ui = SwaggerUIBundle({
    dom_id: "#swagger-ui",
    url: "/openapi.json",
    deepLinking: true,
    layout: "StandaloneLayout",
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl],
  });
};
"##;

macro_rules! unpacked {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

/// `/docs/` and the files of the page; `/docs` redirects to it.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(|| async { Redirect::to("/docs/") }))
        .route("/docs/", get(|| async { file("index.html") }))
        .route("/docs/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
}

fn file(name: &str) -> Response {
    let (content_type, content): (&str, &'static [u8]) = match name {
        "index.html" => ("text/html; charset=utf-8", unpacked!("index.html")),
        "index.css" => ("text/css; charset=utf-8", unpacked!("index.css")),
        "swagger-ui.css" => ("text/css; charset=utf-8", unpacked!("swagger-ui.css")),
        "swagger-ui-bundle.js" => ("text/javascript; charset=utf-8", unpacked!("swagger-ui-bundle.js")),
        "swagger-ui-standalone-preset.js" => {
            ("text/javascript; charset=utf-8", unpacked!("swagger-ui-standalone-preset.js"))
        }
        "swagger-initializer.js" => ("text/javascript; charset=utf-8", INITIALIZER.as_bytes()),
        "favicon-16x16.png" => ("image/png", unpacked!("favicon-16x16.png")),
        "favicon-32x32.png" => ("image/png", unpacked!("favicon-32x32.png")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(CONTENT_TYPE, content_type)], content).into_response()
}
