//! Turns the errors of all domains into the problems that clients receive (RFC 9457).
//!
//! Each domain has an enum that implements [`HttpError`]: the message, the status and the code of a variant are in one place.
//! Handlers return [`ApiError`], to which each of these enums converts with `?`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bus::BusError;
use contracts::IdError;
use contracts::api::Problem;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use platform::problem;
use platform::query::Invalid;
use store::{FileLost, StoreError};

use crate::full_disk::FullDisk;

/// An error that a client receives. Its `Display` is the problem's `detail` and says what is allowed.
pub trait HttpError: std::error::Error + Send + Sync + 'static {
    /// The status, and the stable code for programs.
    fn status_and_code(&self) -> (StatusCode, &'static str);

    /// `Retry-After`, in seconds.
    fn retry_after(&self) -> Option<u64> {
        None
    }

    /// `WWW-Authenticate`.
    fn challenge(&self) -> Option<&'static str> {
        None
    }

    /// Values of the refusal for programs, such as a total that has changed.
    fn facts(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Logs a failure of the service. Failures of clients are not logged.
    fn log(&self) {}

    /// The cause, if a full disk is one.
    fn full_disk(&self) -> Option<&str> {
        None
    }
}

/// Why a request is refused: an error of any domain.
#[derive(Debug)]
pub struct ApiError(Box<dyn HttpError>);

impl ApiError {
    /// The status that the client gets.
    pub fn status(&self) -> StatusCode {
        self.0.status_and_code().0
    }

    /// The stable code for programs.
    pub fn code(&self) -> &'static str {
        self.0.status_and_code().1
    }

    /// `Retry-After`, in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        self.0.retry_after()
    }

    /// `WWW-Authenticate`.
    pub fn challenge(&self) -> Option<&'static str> {
        self.0.challenge()
    }

    /// Values of the refusal for programs.
    pub fn facts(&self) -> BTreeMap<String, String> {
        self.0.facts()
    }

    /// The problem for one of several items, as a part of a response. It is counted as a response of its own would be.
    pub fn into_problem(self) -> Problem {
        self.problem()
    }

    /// The problem that the client gets.
    fn problem(&self) -> Problem {
        let (status, code) = self.0.status_and_code();
        count_refusal(code);
        Problem { facts: self.facts(), ..problem::problem(status, code, self.to_string()) }
    }

    /// Logs a failure of the service. The code that responds to the client calls it once.
    pub fn log(&self) {
        self.0.log();
    }

    /// The same error of one of several fields; its detail begins with the name of the field.
    #[must_use]
    pub fn in_field(self, field: &'static str) -> Self {
        InField { field, error: self }.into()
    }
}

/// An error of one of several fields.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {error}")]
struct InField {
    field: &'static str,
    error: ApiError,
}

impl HttpError for InField {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        self.error.0.status_and_code()
    }

    fn retry_after(&self) -> Option<u64> {
        self.error.0.retry_after()
    }

    fn challenge(&self) -> Option<&'static str> {
        self.error.0.challenge()
    }

    fn facts(&self) -> BTreeMap<String, String> {
        self.error.0.facts()
    }

    fn log(&self) {
        self.error.0.log();
    }

    fn full_disk(&self) -> Option<&str> {
        self.error.0.full_disk()
    }
}

fn count_refusal(code: &'static str) {
    metrics::counter!("sightline_http_refusals_total", "code" => code).increment(1);
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: HttpError> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let full_disk = self.0.full_disk().map(|cause| FullDisk(cause.to_owned()));
        if full_disk.is_none() {
            self.log();
        }
        let mut response = problem::response_of(self.status(), self.problem());
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // The middleware logs it, once for many refusals.
        if let Some(full_disk) = full_disk {
            response.extensions_mut().insert(full_disk);
        }
        response
    }
}

/// A request that no handler accepts.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request cannot be parsed.
    #[error("{0}")]
    Malformed(String),
    /// A value is out of its range.
    #[error("{0}")]
    Invalid(String),
    /// The path does not accept the body's type.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// No route has this path.
    #[error("this path does not exist; /docs lists all paths")]
    UnknownPath,
    /// The route has other methods.
    #[error("this path does not accept this method; the Allow header lists the accepted ones")]
    MethodNotAllowed,
}

impl HttpError for RequestError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        }
    }
}

/// A failure of the service or of one of its dependencies.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A defect of the service. The cause is logged and not sent.
    #[error("internal error; it was logged")]
    Internal(#[source] anyhow::Error),
    /// A dependency that the request needs cannot be reached. The cause is logged and not sent.
    #[error("a server or a folder that this request needs cannot be used now; try again soon")]
    Unavailable(String),
    /// The disk that the request needs is full. The cause is logged and not sent.
    #[error(
        "the disk is full; the operator must free space, and then it works again without a restart; try again later"
    )]
    DiskFull(String),
    /// A file of an embedded part was deleted while it was in use. The cause is logged and not sent.
    #[error(
        "the data folder of this server was deleted, moved or replaced while it ran, so nothing can be stored; the operator \
         must restore the folder and start the server again"
    )]
    FilesLost(#[from] FileLost),
    /// Too many requests at the same time.
    #[error("too many requests are in progress; try again soon")]
    Busy,
    /// The response took too long.
    #[error("the response took too long; request less, or try again soon")]
    Timeout,
}

impl HttpError for ServiceError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::DiskFull(_) => (StatusCode::SERVICE_UNAVAILABLE, "disk_full"),
            Self::FilesLost(_) => (StatusCode::SERVICE_UNAVAILABLE, "data_folder_lost"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Internal(_) => None,
            Self::Busy => Some(1),
            Self::Unavailable(_) | Self::Timeout => Some(2),
            Self::DiskFull(_) | Self::FilesLost(_) => Some(60),
        }
    }

    fn log(&self) {
        match self {
            Self::Internal(cause) => tracing::error!(error = format!("{cause:#}"), "request failed"),
            Self::Unavailable(cause) | Self::DiskFull(cause) => tracing::warn!(error = cause, "request refused"),
            Self::FilesLost(lost) => tracing::error!(error = lost.to_string(), "request refused"),
            Self::Busy | Self::Timeout => {}
        }
    }

    fn full_disk(&self) -> Option<&str> {
        match self {
            Self::DiskFull(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => ServiceError::Unavailable(cause).into(),
            StoreError::DiskFull(cause) => ServiceError::DiskFull(cause).into(),
            StoreError::Misconfigured(_) | StoreError::Fatal(_) => ServiceError::Internal(error.into()).into(),
        }
    }
}

/// Why a message was not sent.
impl From<BusError> for ServiceError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::QueueFull => Self::Busy,
            BusError::DiskFull(cause) => Self::DiskFull(cause),
            BusError::Unavailable(_) | BusError::Closed => Self::Unavailable(error.to_string()),
            // The size was checked before. The limit of the topic is lower than that in the topics file, which the operator must correct.
            BusError::TooLarge { .. } | BusError::Fatal(_) => Self::Internal(error.into()),
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(Invalid(reason): Invalid) -> Self {
        RequestError::Invalid(reason).into()
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        RequestError::Invalid(error.to_string()).into()
    }
}

/// Whole seconds, rounded up, so that a client that waits for them does not retry too early.
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the total is another one now")]
    struct Changed;

    impl HttpError for Changed {
        fn status_and_code(&self) -> (StatusCode, &'static str) {
            (StatusCode::CONFLICT, "changed")
        }

        fn facts(&self) -> BTreeMap<String, String> {
            BTreeMap::from([("total".to_owned(), "1299".to_owned())])
        }
    }

    #[test]
    fn a_problem_has_the_values_for_programs_if_there_are_any() {
        let problem = |error: ApiError| serde_json::to_value(error.into_problem()).unwrap();
        let changed = problem(ApiError::from(Changed).in_field("cart"));
        assert_eq!((&changed["facts"]["total"], &changed["code"]), (&"1299".into(), &"changed".into()));
        assert_eq!(problem(ServiceError::Busy.into()).get("facts"), None);
    }

    #[test]
    fn transient_bus_errors_are_503_with_retry_after() {
        for error in [
            BusError::QueueFull,
            BusError::DiskFull("data".to_owned()),
            BusError::Unavailable("broker down".to_owned()),
            BusError::Closed,
        ] {
            let response = ApiError::from(ServiceError::from(error.clone())).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{error}");
            assert!(response.headers().contains_key(RETRY_AFTER), "{error}");
        }
        let fatal = ServiceError::from(BusError::Fatal("no such topic".to_owned()));
        assert_eq!(ApiError::from(fatal).into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
