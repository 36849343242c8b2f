//! Adds the parts of the OpenAPI document that follow from a handler's type.
//!
//! `#[utoipa::path]` gives path, method, parameters and bodies. The rest follows from the
//! signature: an argument type defines the required credential and possible error responses
//! ([`Argument`]), the return type defines their bodies ([`HandlerOutput`]). `routes!` builds
//! router and document from the same handler, so they cannot differ.

use accounts::Scope;
use axum::Json;
use axum::extract::{Request, State};
use http::{HeaderMap, Uri};
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Object, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::error::ApiError;

/// Routes with the state `S`, and their part of the OpenAPI document.
pub type Routes<S> = OpenApiRouter<S>;

/// Builds [`Routes`] from handlers that have a `#[utoipa::path]`.
#[macro_export]
macro_rules! routes {
    ($($handler:path),+ $(,)?) => {
        utoipa_axum::router::OpenApiRouter::new()
            $(.routes($crate::describe::describe(utoipa_axum::routes!($handler), &$handler)))+
    };
}

/// An error response in the document.
#[derive(Clone, Copy)]
pub struct ErrorResponse {
    /// HTTP status.
    pub status: &'static str,
    /// The codes with their meaning.
    pub description: &'static str,
    /// A header of the response: name and meaning.
    pub header: Option<(&'static str, &'static str)>,
}

impl ErrorResponse {
    /// An error response without a specific header.
    pub const fn new(status: &'static str, description: &'static str) -> Self {
        Self { status, description, header: None }
    }

    /// An error response with a header.
    pub const fn with_header(
        status: &'static str,
        description: &'static str,
        name: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { status, description, header: Some((name, meaning)) }
    }

    /// An error response with `Retry-After`.
    pub const fn with_retry(status: &'static str, description: &'static str) -> Self {
        Self::with_header(status, description, "Retry-After", "Seconds after which to try again")
    }

    /// As a problem (RFC 9457).
    pub fn problem(self) -> (String, RefOr<Response>) {
        self.response(&[("application/problem+json", "Problem")])
    }

    /// In the given media types, each with the name of its schema.
    pub fn response(self, bodies: &[(&str, &str)]) -> (String, RefOr<Response>) {
        let mut response = ResponseBuilder::new().description(self.description);
        for (media_type, schema) in bodies {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(*schema))).build();
            response = response.content(*media_type, content);
        }
        if let Some((name, meaning)) = self.header {
            let header = HeaderBuilder::new().schema(string(None)).description(Some(meaning)).build();
            response = response.header(name, header);
        }
        (self.status.to_owned(), response.build().into())
    }
}

/// The schema of a string.
pub fn string(pattern: Option<&str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(pattern).build()
}

/// The response of every path to a method that it does not accept.
pub const METHOD_NOT_ALLOWED: ErrorResponse = ErrorResponse::with_header(
    "405",
    "`method_not_allowed`: the path does not accept the method",
    "Allow",
    "The methods that it accepts",
);

/// The error responses of every operation.
const COMMON: [ErrorResponse; 6] = [
    ErrorResponse::new("400", "`malformed`: the request cannot be read"),
    METHOD_NOT_ALLOWED,
    ErrorResponse::new("422", "`invalid`: a value is out of its range; the detail says what is allowed"),
    ErrorResponse::with_retry(
        "429",
        "`share_in_use`: too many requests at the same time; `throttled`: too many attempts",
    ),
    ErrorResponse::new("500", "`internal`: a defect of the service, which was logged"),
    ErrorResponse::with_retry(
        "503",
        "`unavailable`, `timeout`: not now; `busy`: too many long responses wait until they are read; `disk_full`, `data_folder_lost`: \
         nothing can be stored until the operator acts",
    ),
];

/// The extension of an operation that needs a full session.
const FULL_SESSION: &str = "x-full-session";

/// The credentials that the arguments of one handler require, and their error responses.
pub struct Requirements {
    /// The accepted credentials; `None` means the document's default for all operations.
    pub security: Option<Vec<SecurityRequirement>>,
    /// Whether the credential must be a session with every scope of its user, or the operator's token. OpenAPI has no word for it.
    pub full_session: bool,
    /// Error responses. A later one of the same status replaces an earlier one.
    pub errors: Vec<ErrorResponse>,
}

/// The credentials that can carry a scope.
pub fn requires(right: Scope) -> [SecurityRequirement; 2] {
    [
        SecurityRequirement::new("oauth2", [right.name()]),
        SecurityRequirement::new::<&str, [&str; 0], &str>("bearer", []),
    ]
}

/// An argument of a handler.
pub trait Argument {
    /// Adds the credential that the argument requires, and its error responses.
    fn describe(_: &mut Requirements) {}
}

impl<S> Argument for State<S> {}
impl Argument for HeaderMap {}
impl Argument for Uri {}
impl Argument for Request {}

/// An argument whose error the handler turns into a response itself.
impl<T: Argument> Argument for Result<T, ApiError> {
    fn describe(requirements: &mut Requirements) {
        T::describe(requirements);
    }
}

/// The return type of a handler.
pub trait HandlerOutput {
    /// The error responses, given those of the arguments.
    fn errors(of_arguments: Vec<ErrorResponse>) -> Vec<(String, RefOr<Response>)> {
        ApiError::responses(of_arguments)
    }
}

/// The error type of handlers.
pub trait HandlerError {
    /// The error responses, given those of the arguments.
    fn responses(of_arguments: Vec<ErrorResponse>) -> Vec<(String, RefOr<Response>)> {
        COMMON.into_iter().chain(of_arguments).map(ErrorResponse::problem).collect()
    }
}

impl HandlerError for ApiError {}

impl<T, E: HandlerError> HandlerOutput for Result<T, E> {
    fn errors(of_arguments: Vec<ErrorResponse>) -> Vec<(String, RefOr<Response>)> {
        E::responses(of_arguments)
    }
}
impl<T> HandlerOutput for Json<T> {}
impl<H, T> HandlerOutput for (H, Json<T>) {}

/// A handler with its arguments `A`.
pub trait Handler<A> {
    /// Completes the operation.
    fn describe(operation: &mut Operation);
}

macro_rules! handler {
    ($($argument:ident),*) => {
        impl<F, R, $($argument),*> Handler<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R,
            R: Future<Output: HandlerOutput>,
            $($argument: Argument,)*
        {
            fn describe(operation: &mut Operation) {
                // If no argument requires a credential, anonymous clients may call the operation.
                let security = Some(vec![SecurityRequirement::default()]);
                let mut requirements = Requirements { security, full_session: false, errors: Vec::new() };
                $($argument::describe(&mut requirements);)*
                if requirements.full_session {
                    operation.extensions = Some(ExtensionsBuilder::new().add(FULL_SESSION, true).build());
                }
                complete(operation, requirements.security, R::Output::errors(requirements.errors));
            }
        }
    };
}
handler!(A);
handler!(A, B);
handler!(A, B, C);
handler!(A, B, C, D);
handler!(A, B, C, D, E);
handler!(A, B, C, D, E, G);

/// Adds the security and the error responses that the attribute does not name itself.
fn complete(
    operation: &mut Operation,
    security: Option<Vec<SecurityRequirement>>,
    errors: Vec<(String, RefOr<Response>)>,
) {
    if operation.security.is_none() {
        operation.security = security;
    }
    let mut responses = std::mem::take(&mut operation.responses.responses);
    let written: Vec<String> = responses.keys().cloned().collect();
    for (status, response) in errors {
        if !written.contains(&status) {
            responses.insert(status, response);
        }
    }
    operation.responses.responses = responses;
}

/// Completes the operation of a route by the type of its handler.
pub fn describe<H: Handler<A>, A, S: Clone + Send + Sync + 'static>(
    (schemas, mut paths, methods): UtoipaMethodRouter<S>,
    _: &H,
) -> UtoipaMethodRouter<S> {
    paths.paths.values_mut().flat_map(operations).for_each(H::describe);
    (schemas, paths, methods)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Authorized;
    use crate::scope::RulesWrite;

    #[utoipa::path(get, path = "/open")]
    async fn open(_: HeaderMap) -> Result<(), ApiError> {
        Ok(())
    }

    #[utoipa::path(get, path = "/scoped", responses((status = 403, description = "its own")))]
    async fn scoped(_: Authorized<RulesWrite>) -> Result<(), ApiError> {
        Ok(())
    }

    #[test]
    fn an_operation_names_the_scope_that_its_handler_requires() {
        let document = serde_json::to_value(open_routes().into_openapi()).unwrap();
        assert_eq!(document["paths"]["/open"]["get"]["security"], serde_json::json!([{}]));
        assert_eq!(document["paths"]["/open"]["get"]["responses"].get("401"), None);
        let document = serde_json::to_value(scoped_routes().into_openapi()).unwrap();
        let scoped = &document["paths"]["/scoped"]["get"];
        assert_eq!(scoped["security"], serde_json::json!([{"oauth2": ["rules:write"]}, {"bearer": []}]));
        assert_eq!(scoped["responses"]["403"]["description"], "its own", "a response in the attribute is not replaced");
        assert!(scoped["responses"]["401"]["headers"]["WWW-Authenticate"].is_object());
        assert!(scoped["responses"]["503"]["headers"]["Retry-After"].is_object());
    }

    fn open_routes() -> Routes<()> {
        crate::routes![open]
    }

    fn scoped_routes() -> Routes<TestState> {
        crate::routes![scoped]
    }

    /// A state whose functions nobody calls: the document follows from types alone.
    #[derive(Clone)]
    struct TestState;

    impl crate::ApiState for TestState {
        fn accounts(&self) -> &dyn accounts::Accounts {
            unreachable!("no request is sent")
        }

        fn bytes_in_flight(&self) -> &crate::upload::BytesInFlight {
            unreachable!("no request is sent")
        }

        fn json_limits(&self) -> crate::upload::BodyLimits {
            unreachable!("no request is sent")
        }
    }
}
