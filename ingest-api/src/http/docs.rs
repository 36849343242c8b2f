//! The OpenAPI document at `/openapi.json`, made from the handlers, and Swagger UI at `/docs`.

use std::collections::BTreeMap;

use axum::Router;
use contracts::api::Problem;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::http::{compat, detections, frames, health, rules, stats, submit};

/// What every operation is described from.
#[derive(OpenApi)]
#[openapi(
    info(title = "Sightline", description = "Frames in, alerts out. Errors are problems (RFC 9457) with a stable `code`."),
    paths(
        submit::submit,
        frames::list,
        frames::one,
        frames::image,
        detections::list,
        detections::one,
        detections::create,
        stats::stats,
        rules::list,
        rules::one,
        rules::create,
        rules::change,
        rules::remove,
        crate::http::alerts::history,
        compat::detections,
        compat::stats,
    ),
    components(schemas(Problem)),
    modifiers(&Bearer, &PassedOn, &Served),
    security(("bearer" = [])),
)]
struct Described;

/// The document.
pub fn document() -> Document {
    Described::openapi()
}

/// `/openapi.json` and `/docs`.
pub fn router() -> Router<App> {
    SwaggerUi::new("/docs").url("/openapi.json", document()).into()
}

/// The image in a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described here, read piece by piece")]
pub struct ImageForm {
    /// The image; `image` and `frame` are as good names as `file`.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// What any operation may answer.
pub struct Problems;

/// What an operation with a body may answer besides.
pub struct UploadProblems;

const OF_ALL: [(&str, &str); 6] = [
    ("400", "The request cannot be read"),
    ("401", "No credential, or one that does not count"),
    ("403", "The credential does not allow it"),
    ("405", "The path does not take the method"),
    ("422", "A value is out of its range; the detail says what would be right"),
    ("503", "Not now; Retry-After tells when to try again"),
];

const OF_UPLOADS: [(&str, &str); 4] = [
    ("408", "The body took too long to arrive"),
    ("413", "The body is too long"),
    ("415", "The body is of a type that is not taken"),
    ("429", "The quota is used up"),
];

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        OF_ALL.into_iter().map(problem).collect()
    }
}

impl IntoResponses for UploadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        OF_ALL.into_iter().chain(OF_UPLOADS).map(problem).collect()
    }
}

fn problem((status, description): (&str, &str)) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(description).content("application/problem+json", content).build();
    (status.to_owned(), response.into())
}

/// Declares the credential.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token")).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Describes what alert-stream answers.
struct PassedOn;

impl Modify for PassedOn {
    fn modify(&self, document: &mut Document) {
        let filter = |name: &str, description: &str| {
            ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).description(Some(description)).build()
        };
        let resume = "The id of the last event that was seen: what came after it follows. The header Last-Event-ID says the same";
        let live = stream(
            "Alerts as they are raised, as server-sent events: `event: alert`, `id` a cursor, `data` an AlertData",
        )
        .parameter(filter("stream", "Of this stream"))
        .parameter(filter("label", "With this label"))
        .parameter(filter("rule", "Of the rule with this name"))
        .parameter(filter("last_event_id", resume));
        let older = stream("Alerts as older clients know them: `event: new_alert`, the vehicle's fields flat")
            .tag("older clients");
        let cookie = problems(OperationBuilder::new().tag("alerts"))
            .summary(Some("Sets a cookie that opens /v1/alerts to a browser's EventSource, which sends no headers"))
            .response("204", ResponseBuilder::new().description("The cookie is set"));
        for (path, method, operation) in [
            ("/v1/alerts", HttpMethod::Get, live.tag("alerts")),
            ("/alerts", HttpMethod::Get, older),
            ("/v1/alerts/cookie", HttpMethod::Post, cookie),
        ] {
            document.paths.paths.insert(path.to_owned(), PathItem::new(method, operation));
        }
    }
}

fn stream(summary: &str) -> OperationBuilder {
    let events =
        ResponseBuilder::new().description("The stream").content("text/event-stream", ContentBuilder::new().build());
    problems(OperationBuilder::new()).summary(Some(summary)).response("200", events)
}

fn problems(operation: OperationBuilder) -> OperationBuilder {
    OF_ALL
        .into_iter()
        .map(problem)
        .fold(operation, |operation, (status, response)| operation.response(status, response))
}

/// Describes what `platform` answers.
struct Served;

impl Modify for Served {
    fn modify(&self, document: &mut Document) {
        health::document(&mut document.paths);
    }
}
