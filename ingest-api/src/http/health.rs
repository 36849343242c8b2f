//! `/healthz` and `/readyz`: the handlers of `platform`, with their entries in the OpenAPI document.

use api_kit::describe::METHOD_NOT_ALLOWED;
use platform::Health;
use utoipa::openapi::path::{OperationBuilder, PathItem, Paths};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, HttpMethod, Object, ObjectBuilder, OpenApiBuilder, ResponseBuilder, Type};
use utoipa_axum::router::OpenApiRouter;

use crate::http::Routes;

/// The two routes.
pub fn routes(health: &Health) -> Routes {
    let document = OpenApiBuilder::new().paths(paths()).build();
    OpenApiRouter::with_openapi(document).merge(health.router().into())
}

fn paths() -> Paths {
    let text = || Object::with_type(SchemaType::Type(Type::String));
    let status = || ObjectBuilder::new().property("status", text()).required("status");
    let answer = |description: &str, body: Object| {
        let content = ContentBuilder::new().schema(Some(body)).build();
        ResponseBuilder::new().description(description).content("application/json", content)
    };
    let checks = || {
        let each = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::RefOr(text().into())));
        status().property("checks", each).required("checks").build()
    };
    let live = OperationBuilder::new()
        .operation_id(Some("is_live"))
        .summary(Some("Whether the process is running"))
        .response("200", answer("The process is running", status().build()));
    let ready = OperationBuilder::new()
        .operation_id(Some("is_ready"))
        .summary(Some("Whether every dependency is reachable"))
        .response(
            "200",
            answer(
                "The service is ready. `checks` maps each dependency to `ok`, or to `degraded: ` and its error, if the service \
                 works without it; the status is `degraded` then",
                checks(),
            ),
        )
        .response("503", answer("A dependency is unreachable; `checks` maps each name to `ok` or its error", checks()));
    let mut paths = Paths::new();
    for (path, operation) in [("/healthz", live), ("/readyz", ready)] {
        let (status, response) = METHOD_NOT_ALLOWED.problem();
        let operation = operation.response(status, response).tag("health").security(SecurityRequirement::default());
        paths.paths.insert(path.to_owned(), PathItem::new(HttpMethod::Get, operation));
    }
    paths
}
