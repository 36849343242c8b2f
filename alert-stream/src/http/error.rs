//! Why a request gets no stream, beyond the reasons that all services have (`api-kit`).

use accounts::AccessError;
use api_kit::error::{ApiError, HttpError};
use bus::BusError;
use http::StatusCode;

/// Why a request gets no stream. Clients read the text.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The request has no credential.
    #[error(
        "this request needs a credential; send Authorization: Bearer <token>, or the cookie of POST /v1/alerts/cookie"
    )]
    NoCredential,
    /// The operator's token never goes into a browser.
    #[error("the operator's token cannot be given to a browser as a cookie; use the token of a user")]
    OperatorToken,
    /// No route has this path.
    #[error("there is nothing at this path; the paths are /v1/alerts and /v1/alerts/cookie")]
    UnknownPath,
    /// The path has other methods.
    #[error("this path does not accept this method; the Allow header lists the methods that it accepts")]
    MethodNotAllowed,
    /// All connections are in use.
    #[error("too many clients are connected at this moment; try again soon")]
    Busy,
    /// The log or the accounts are unreachable. The cause is logged and not sent.
    #[error("alerts cannot be streamed at this moment; try again soon")]
    Unavailable(String),
}

impl HttpError for StreamError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoCredential => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::OperatorToken => (StatusCode::FORBIDDEN, "forbidden"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Busy | Self::Unavailable(_)).then_some(5)
    }

    fn challenge(&self) -> Option<&'static str> {
        matches!(self, Self::NoCredential).then_some("Bearer")
    }

    fn log(&self) {
        if let Self::Unavailable(cause) = self {
            tracing::warn!(error = cause, "a stream was refused");
        }
    }
}

impl From<BusError> for StreamError {
    fn from(error: BusError) -> Self {
        Self::Unavailable(format!("the log cannot be read for the start of a stream: {error}"))
    }
}

/// The refusal of a caller by the accounts.
pub fn caller_refused(error: AccessError) -> ApiError {
    match error {
        AccessError::Unavailable(cause) | AccessError::DiskFull(cause) => StreamError::Unavailable(cause).into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_that_cannot_be_verified_are_told_about_the_stream() {
        for outage in [AccessError::Unavailable("no route".to_owned()), AccessError::DiskFull("full".to_owned())] {
            let refused = caller_refused(outage);
            assert_eq!(
                (refused.status().as_u16(), refused.code(), refused.retry_after()),
                (503, "unavailable", Some(5))
            );
            assert_eq!(refused.to_string(), "alerts cannot be streamed at this moment; try again soon");
        }
        assert_eq!(caller_refused(AccessError::InvalidCredential).code(), "invalid_token");
    }
}
