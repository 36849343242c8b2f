//! `/healthz` and `/readyz` as the OpenAPI document tells of them; `platform` answers them.

use utoipa::openapi::path::{OperationBuilder, PathItem};
use utoipa::openapi::{HttpMethod, Paths, ResponseBuilder};

/// Adds the two paths.
pub fn document(paths: &mut Paths) {
    let live = OperationBuilder::new()
        .summary(Some("Whether the process answers"))
        .response("200", ResponseBuilder::new().description("It does"));
    let ready = OperationBuilder::new()
        .summary(Some("Whether everything that the service needs can be reached"))
        .response("200", ResponseBuilder::new().description("All of it"))
        .response(
            "503",
            ResponseBuilder::new().description("Not all of it; the body names each check with its result"),
        );
    for (path, operation) in [("/healthz", live), ("/readyz", ready)] {
        let operation = operation.tag("health").security(utoipa::openapi::SecurityRequirement::default());
        paths.paths.insert(path.to_owned(), PathItem::new(HttpMethod::Get, operation));
    }
}
