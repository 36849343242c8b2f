//! The OpenAPI document at `/openapi.json`, made from the handlers, and Swagger UI at `/docs`.

use std::collections::BTreeMap;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use contracts::api::Problem;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Password, Scopes, SecurityRequirement,
    SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, Object, ObjectBuilder, OpenApi as Document, Ref, RefOr, Required, Response, ResponseBuilder, Type,
};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::http::oauth::Refusal;
use crate::http::{
    alerts, api_tokens, compat, detections, frames, health, hello, identities, manage, openid, passwords, rules,
    sessions, stats, submit, token, users,
};

/// What every operation is described from.
#[derive(OpenApi)]
#[openapi(
    info(title = "Sightline", description = "Frames in, alerts out. Errors are problems (RFC 9457) with a stable `code`; only a \
        request that does not read as HTTP/1.1, or whose head is too long, is answered 400, 414 or 431 without a body, and its \
        connection closed. A path that is none is answered 404 `unknown_path`."),
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
        alerts::history,
        token::token,
        token::revoke,
        token::introspect,
        token::keys,
        openid::login,
        openid::callback,
        openid::id_token,
        api_tokens::list,
        api_tokens::create,
        api_tokens::remove,
        users::register,
        users::me,
        users::change_me,
        users::change_password,
        users::quota,
        identities::list,
        identities::link,
        identities::unlink,
        passwords::forgot,
        passwords::reset,
        sessions::list,
        sessions::end_all,
        sessions::end,
        manage::list,
        manage::one,
        manage::change,
        manage::remove,
        manage::audit,
        compat::detections,
        compat::stats,
        compat::accounts::register,
        compat::accounts::token,
        compat::accounts::me,
        compat::sessions::login,
        compat::sessions::set_name,
        compat::sessions::put_name,
        compat::sessions::patch_name,
        compat::sessions::name,
        hello::first,
        hello::second,
    ),
    components(schemas(Problem, Refusal)),
    modifiers(&Credentials, &PassedOn, &Served),
    security(("oauth2" = []), ("bearer" = [])),
)]
struct Described;

/// The document.
pub fn document() -> Document {
    Described::openapi()
}

/// `/openapi.json` and `/docs`, to which the bare address leads.
pub fn router() -> Router<App> {
    let pages: Router<App> = SwaggerUi::new("/docs").url("/openapi.json", document()).into();
    pages.route("/", get(|| async { Redirect::temporary("/docs/") }))
}

/// An image's bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "described here, passed on as it is")]
pub struct Image(Vec<u8>);

/// The image in a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described here, read piece by piece")]
pub struct ImageForm {
    /// The image; `image` and `frame` are as good names as `file`.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// What any operation may answer that takes a credential.
pub struct Problems;

/// What an operation may answer that takes none.
pub struct OpenProblems;

/// What an operation with a body may answer besides.
pub struct OpenBodyProblems;

/// What the token endpoints may answer: their own kind of refusal, and problems where a request does not come as far as them.
pub struct TokenProblems;

/// What an operation with a body may answer besides.
pub struct BodyProblems;

/// What an operation may answer that takes frames in.
pub struct UploadProblems;

/// A status, what it means with the codes it comes with, and a header that says more.
type Row = (&'static str, &'static str, Option<(&'static str, &'static str)>);

const RETRY_AFTER: Option<(&str, &str)> = Some(("Retry-After", "Seconds after which to try again"));
const MAYBE_RETRY_AFTER: Option<(&str, &str)> =
    Some(("Retry-After", "Seconds after which to try again; missing where a quota does not come back"));

const OF_CALLERS: [Row; 3] = [
    (
        "401",
        "`unauthorized`: no credential; `invalid_token`: one that does not count",
        Some(("WWW-Authenticate", "`Bearer`, with what is wrong with the token")),
    ),
    ("403", "`forbidden`, `scope_not_allowed`, `wrong_password`: the credential does not allow it", None),
    ("429", "`rate_limited`: too many requests; `throttled`: too many attempts", RETRY_AFTER),
];

const NOT_ALLOWED: Row =
    ("405", "`method_not_allowed`: the path does not take the method", Some(("Allow", "The methods that it takes")));

const OF_ALL: [Row; 6] = [
    ("400", "`malformed`: the request cannot be read", None),
    NOT_ALLOWED,
    ("422", "`invalid`: a value is out of its range; the detail says what would be right", None),
    ("429", "`throttled`: too many attempts", RETRY_AFTER),
    ("500", "`internal`: a defect of the service, which was logged", None),
    ("503", "`unavailable`, `timeout`: not now", RETRY_AFTER),
];

const OF_BODIES: [Row; 4] = [
    ("408", "`slow_upload`: the body took too long to arrive, or came too slowly", None),
    ("413", "`too_large`: the body is too long", None),
    ("415", "`unsupported_media_type`: the body is of a type that is not taken", None),
    ("503", "`unavailable`, `timeout`: not now; `busy`: too many bodies are on their way", RETRY_AFTER),
];

const OF_UPLOADS: [Row; 3] = [
    (
        "422",
        "`invalid`: a value is out of its range; `empty_body`, `invalid_image`, `image_too_large`: no image that is taken; \
         `idempotency_key_reused`: the key came with another image, body or parameters before",
        None,
    ),
    ("429", "`quota_exceeded`: the quota is used up; `rate_limited`: too many requests", MAYBE_RETRY_AFTER),
    (
        "503",
        "`unavailable`, `timeout`: not now; `busy`: too many bodies are on their way; `backlog`, `disk_full`: no more frames \
         until the detectors or the operator have made room",
        RETRY_AFTER,
    ),
];

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        OF_ALL.into_iter().chain(OF_CALLERS).map(problem).collect()
    }
}

impl IntoResponses for OpenProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        OF_ALL.into_iter().map(problem).collect()
    }
}

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        OF_ALL.into_iter().chain(OF_CALLERS).chain(OF_BODIES).map(problem).collect()
    }
}

impl IntoResponses for OpenBodyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        OF_ALL.into_iter().chain(OF_BODIES).map(problem).collect()
    }
}

impl IntoResponses for UploadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        OF_ALL.into_iter().chain(OF_CALLERS).chain(OF_BODIES).chain(OF_UPLOADS).map(problem).collect()
    }
}

const OF_TOKENS: [Row; 6] = [
    ("400", "`invalid_request`, `invalid_grant`, `invalid_scope`, `unsupported_grant_type`", None),
    ("408", "`invalid_request`: the form took too long to arrive", None),
    ("413", "`invalid_request`: the form is too long", None),
    ("429", "`slow_down`: too many attempts", RETRY_AFTER),
    ("500", "`server_error`: a defect of the service, which was logged", None),
    ("503", "`temporarily_unavailable`: not now; a problem `timeout` where the answer takes too long", RETRY_AFTER),
];

impl IntoResponses for TokenProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refusals = OF_TOKENS.into_iter().map(refusal);
        refusals.chain([problem(NOT_ALLOWED)]).collect()
    }
}

/// A refusal of a token endpoint; or, where the request was given up before it, a problem.
fn refusal((status, description, header): Row) -> (String, RefOr<Response>) {
    let content = |schema: &str| ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/json", content("OAuthError"))
        .content("application/problem+json", content("Problem"));
    if let Some((name, means)) = header {
        response = response.header(name, HeaderBuilder::new().schema(text(None)).description(Some(means)).build());
    }
    (status.to_owned(), response.build().into())
}

fn problem((status, description, header): Row) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let mut response = ResponseBuilder::new().description(description).content("application/problem+json", content);
    if let Some((name, means)) = header {
        response = response.header(name, HeaderBuilder::new().schema(text(None)).description(Some(means)).build());
    }
    (status.to_owned(), response.build().into())
}

/// What every path answers to methods that it does not take.
pub fn not_allowed() -> (String, RefOr<Response>) {
    problem(NOT_ALLOWED)
}

/// The schema of a text.
fn text(pattern: Option<&str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(pattern).build()
}

/// What a credential may allow.
const SCOPES: [(&str, &str); 7] = [
    ("frames:write", "Send frames and detections"),
    ("detections:read", "Read frames, detections, statistics and rules"),
    ("alerts:read", "Read alerts, as they come and as a list"),
    ("rules:write", "Change rules"),
    ("faces:write", "Enrol and erase faces"),
    ("faces:read", "Verify and search faces"),
    ("admin", "See everybody's data and manage users"),
];

/// Declares the credentials and what they may allow; which of it an operation takes, the operation says.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = scheme.description(Some("An access token of /v1/token, or an API token")).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        let flow = Flow::Password(Password::with_refresh_url("/v1/token", Scopes::from_iter(SCOPES), "/v1/token"));
        let about = "By name and password; the client needs no id and no secret";
        components.add_security_scheme("oauth2", SecurityScheme::OAuth2(OAuth2::with_description([flow], about)));
        let session = "What POST /login gave, bare or as Bearer";
        let session = ApiKey::Header(ApiKeyValue::with_description("Authorization", session));
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
        let cookie = "What POST /v1/alerts/cookie sets, for the streams alone";
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description("sightline_alerts", cookie));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    }
}

/// Describes what alert-stream answers.
struct PassedOn;

impl Modify for PassedOn {
    fn modify(&self, document: &mut Document) {
        let live = stream(
            "Alerts as they are raised, as server-sent events: `event: alert`, `id` a cursor, `data` an AlertData. A stream does \
             not end before its credential does, or the service",
        );
        let older = stream(
            "Alerts about vehicles as older clients know them: `event: new_alert`, the vehicle's fields flat. A stream does not \
             end before its credential does, or the service",
        );
        let set = HeaderBuilder::new().schema(text(None)).description(Some("The cookie")).build();
        let cookie = problems(OperationBuilder::new().tag("alerts").operation_id(Some("alerts_cookie")))
            .summary(Some("Sets a cookie that opens /v1/alerts to a browser's EventSource, which sends no headers"))
            .security(SecurityRequirement::new("oauth2", ["alerts:read"]))
            .security(SecurityRequirement::new::<&str, [&str; 0], &str>("bearer", []))
            .response("204", ResponseBuilder::new().description("The cookie is set").header("Set-Cookie", set));
        for (path, method, operation) in [
            ("/v1/alerts", HttpMethod::Get, live.tag("alerts").operation_id(Some("stream_alerts"))),
            ("/alerts", HttpMethod::Get, older.tag("older clients").operation_id(Some("older_stream_alerts"))),
            ("/v1/alerts/cookie", HttpMethod::Post, cookie),
        ] {
            document.paths.paths.insert(path.to_owned(), PathItem::new(method, operation));
        }
    }
}

fn stream(summary: &str) -> OperationBuilder {
    let parameter = |name: &str, place: ParameterIn, schema: Object, description: &str| {
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::False);
        parameter.schema(Some(schema)).description(Some(description)).build()
    };
    let name = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64)).build();
    let query = |name: &str, schema, description: &str| parameter(name, ParameterIn::Query, schema, description);
    let resume = "The id of the last event that was seen: what came after it follows";
    let events = ContentBuilder::new().schema(Some(text(None))).build();
    let events = ResponseBuilder::new().description("The stream").content("text/event-stream", events);
    problems(OperationBuilder::new())
        .summary(Some(summary))
        .parameter(query("stream", text(Some("^[A-Za-z0-9._-]{1,64}$")), "Of this stream"))
        .parameter(query("label", name(), "With this label"))
        .parameter(query("rule", name(), "Of the rule with this name"))
        .parameter(query("last_event_id", text(None), resume))
        .parameter(parameter("Last-Event-ID", ParameterIn::Header, text(None), "The same, and counts for more"))
        .response("200", events)
        .response("503", problem(("503", "`busy`, `unavailable`: not now", RETRY_AFTER)).1)
        .security(SecurityRequirement::new("oauth2", ["alerts:read"]))
        .security(SecurityRequirement::new::<&str, [&str; 0], &str>("bearer", []))
        .security(SecurityRequirement::new::<&str, [&str; 0], &str>("cookie", []))
}

fn problems(operation: OperationBuilder) -> OperationBuilder {
    let responses = OF_ALL.into_iter().chain(OF_CALLERS).map(problem);
    responses.fold(operation, |operation, (status, response)| operation.response(status, response))
}

/// Describes what `platform` answers.
struct Served;

impl Modify for Served {
    fn modify(&self, document: &mut Document) {
        health::document(&mut document.paths);
    }
}
