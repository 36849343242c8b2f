//! Errors as statuses of gRPC. REST has the same errors as problems; both are made from [`ApiError`].

use std::collections::HashMap;
use std::time::Duration;

use api_kit::error::{ApiError, HttpError};
use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of our codes in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "sightline";

/// A call that no handler accepts.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// No service has the method.
    #[error("this method does not exist; grpc.reflection.v1.ServerReflection lists all services and their methods")]
    UnknownMethod,
    /// The method says nothing about its access.
    #[error("this method is not open to anybody")]
    Closed,
    /// The header of the deadline cannot be read.
    #[error("the metadata grpc-timeout must be a number of up to 8 digits and one of the units H, M, S, m, u, n")]
    InvalidTimeout,
    /// The deadline has passed.
    #[error("the deadline of the call has passed; set a later one, or try again")]
    DeadlineExceeded,
    /// The bytes of the call are no message of its method.
    #[error("the call has no message, or one that is cut or not of the type that the method takes")]
    Malformed,
    /// The message is larger than the method allows.
    #[error("a message of this method may have at most {limit} bytes, and this one has {length}; send pieces of 1 MiB")]
    MessageTooLarge {
        /// Length of the message.
        length: usize,
        /// The largest length.
        limit: usize,
    },
    /// The messages in memory have reached their bound.
    #[error("too many messages are in memory; try again soon")]
    Busy,
    /// The tenant of the call, or the clients without a credential, have their share of the messages in memory.
    #[error(
        "other calls of the same user, or without a credential, use all the memory for messages that these may have; try again \
         soon"
    )]
    ShareInUse,
    /// The service stops.
    #[error("the server is about to stop; call another one, or this one again soon")]
    Stopping,
    /// The client has cancelled the call, or its connection has ended.
    #[error("the client has ended the call before its last message")]
    Disconnected,
    /// The client sends too slowly.
    #[error("the message arrived too slowly; try again over a better connection")]
    TooSlow,
    /// The stream of a client ended before its end.
    #[error("the stream broke off: {message}; what has arrived of an upload is kept: go on with GetUploadURL")]
    Stream {
        /// The status that the same error has elsewhere.
        status: StatusCode,
        /// Its stable code.
        code: &'static str,
        /// Its message.
        message: String,
    },
}

impl HttpError for GrpcError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::UnknownMethod => (StatusCode::NOT_IMPLEMENTED, "unknown_method"),
            Self::Closed => (StatusCode::FORBIDDEN, "forbidden"),
            Self::InvalidTimeout | Self::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
            Self::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
            Self::MessageTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "message_too_large"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::ShareInUse => (StatusCode::TOO_MANY_REQUESTS, "share_in_use"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Self::Disconnected => (StatusCode::BAD_REQUEST, "disconnected"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::Stream { status, code, .. } => (*status, *code),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Busy | Self::ShareInUse | Self::Stopping).then_some(1)
    }
}

/// The status of an error. Its cause is logged here, and not sent.
pub fn status_of(error: impl Into<ApiError>) -> Status {
    let error = error.into();
    error.log();
    let code = error.code();
    metrics::counter!("sightline_grpc_refusals_total", "code" => code).increment(1);
    let facts: HashMap<String, String> = error.facts().into_iter().collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(code, DOMAIN, facts);
    if let Some(seconds) = error.retry_after() {
        details.set_retry_info(Some(Duration::from_secs(seconds)));
    }
    Status::with_error_details(grpc_code(error.status(), code), error.to_string(), details)
}

/// What may be wrong with a stream, besides that it cannot be read.
const IN_STREAMS: [(StatusCode, &str); 5] = [
    (StatusCode::PAYLOAD_TOO_LARGE, "message_too_large"),
    (StatusCode::SERVICE_UNAVAILABLE, "busy"),
    (StatusCode::TOO_MANY_REQUESTS, "share_in_use"),
    (StatusCode::REQUEST_TIMEOUT, "too_slow"),
    (StatusCode::BAD_REQUEST, "disconnected"),
];

/// The error of a client's stream, with which its handler ends.
pub fn stream_error(status: &Status) -> ApiError {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str()).unwrap_or_default();
    let known = IN_STREAMS.into_iter().find(|(_, code)| *code == reason);
    let (http, code) = known.unwrap_or((StatusCode::BAD_REQUEST, "malformed"));
    GrpcError::Stream { status: http, code, message: status.message().to_owned() }.into()
}

/// The code of gRPC for an error's status of HTTP and its stable code.
fn grpc_code(status: StatusCode, code: &str) -> Code {
    match (status.as_u16(), code) {
        (_, "invalid_reset_token") => Code::PermissionDenied,
        (_, "message_too_large" | "cart_full") => Code::ResourceExhausted,
        (_, "timeout") => Code::DeadlineExceeded,
        (_, "disconnected") => Code::Aborted,
        (_, "no_provider") => Code::Unimplemented,
        (409, "already_owned" | "email_taken" | "username_taken" | "conflict") => Code::AlreadyExists,
        (409, "version_conflict" | "offset_mismatch" | "upload_busy" | "checkout_running" | "key_reused") => {
            Code::Aborted
        }
        (400 | 415 | 422, _) => Code::InvalidArgument,
        (401, _) => Code::Unauthenticated,
        (403, _) => Code::PermissionDenied,
        (404 | 410, _) => Code::NotFound,
        (408 | 504, _) => Code::DeadlineExceeded,
        (409 | 412 | 428, _) => Code::FailedPrecondition,
        (413 | 416, _) => Code::OutOfRange,
        (429, _) => Code::ResourceExhausted,
        (405 | 501, _) => Code::Unimplemented,
        (503 | 507, _) => Code::Unavailable,
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use accounts::{AccessError, AccountError};
    use api_kit::auth::AuthError;
    use api_kit::error::{RequestError, ServiceError};

    use super::*;

    fn code_and_reason(error: impl Into<ApiError>) -> (Code, String) {
        let status = status_of(error);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.domain, DOMAIN);
        (status.code(), info.reason.clone())
    }

    #[test]
    fn an_error_has_its_stable_code_in_the_details() {
        for (error, code, reason) in [
            (ApiError::from(AuthError::NoCredential), Code::Unauthenticated, "unauthorized"),
            (ApiError::from(AuthError::NotFullSession), Code::PermissionDenied, "forbidden"),
            (ApiError::from(AccountError::WrongPassword), Code::Unauthenticated, "wrong_password"),
            (ApiError::from(AccountError::EmailTaken), Code::AlreadyExists, "email_taken"),
            (ApiError::from(AccountError::InvalidReset), Code::PermissionDenied, "invalid_reset_token"),
            (ApiError::from(AccountError::InvalidGrant), Code::Unauthenticated, "invalid_token"),
            (ApiError::from(RequestError::Invalid(String::new())), Code::InvalidArgument, "invalid"),
            (ApiError::from(ServiceError::Timeout), Code::DeadlineExceeded, "timeout"),
            (ApiError::from(GrpcError::UnknownMethod), Code::Unimplemented, "unknown_method"),
        ] {
            assert_eq!(code_and_reason(error), (code, reason.to_owned()));
        }
    }

    #[test]
    fn an_error_of_a_stream_keeps_its_code() {
        for (error, code, reason) in [
            (GrpcError::MessageTooLarge { length: 2, limit: 1 }, Code::ResourceExhausted, "message_too_large"),
            (GrpcError::ShareInUse, Code::ResourceExhausted, "share_in_use"),
            (GrpcError::TooSlow, Code::DeadlineExceeded, "too_slow"),
            (GrpcError::Malformed, Code::InvalidArgument, "malformed"),
        ] {
            assert_eq!(code_and_reason(stream_error(&status_of(error))), (code, reason.to_owned()));
        }
        assert_eq!(code_and_reason(stream_error(&Status::internal("?"))).0, Code::InvalidArgument);
    }

    #[test]
    fn a_later_call_is_advised_and_causes_are_not_sent() {
        let status = status_of(AccessError::Unavailable("the secret address of the database".to_owned()));
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!status.message().contains("secret"));
        let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay, Some(Duration::from_secs(2)));
    }
}
