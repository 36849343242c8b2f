//! Errors as `OpenAI`'s clients read them: `{"error": {"message", "type", "param", "code"}}`.

use api_kit::error::ApiError;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use platform::error_chain;
use serde_json::json;
use sound::SoundError;

use crate::speech::error::SpeechError;
use crate::speech::recording::RecordingError;

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct OpenAiError {
    status: StatusCode,
    code: &'static str,
    /// The field of the form.
    param: Option<&'static str>,
    message: String,
    retry_after: Option<u64>,
}

impl OpenAiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, param: None, message: message.into(), retry_after: None }
    }

    /// A field of the form is missing or has another value than those allowed.
    pub fn field(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, "invalid_value", message) }
    }

    /// There is no such model.
    pub fn unknown_model(message: impl Into<String>) -> Self {
        Self { param: Some("model"), ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message) }
    }

    /// The key is missing or wrong.
    pub fn wrong_key() -> Self {
        let message = "the API key is missing or wrong: send it as `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    /// As many requests as allowed are being served.
    pub fn busy() -> Self {
        let message = "as many requests as allowed are being transcribed; try again soon";
        Self { retry_after: Some(1), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message) }
    }

    /// There is no such path.
    pub fn unknown_path() -> Self {
        let message = "there is no such path; there are POST /v1/audio/transcriptions and GET /v1/models";
        Self::new(StatusCode::NOT_FOUND, "unknown_url", message)
    }

    /// The path has no such method.
    pub fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not have this method")
    }

    /// The service failed; the log has the cause.
    pub fn internal(cause: &str) -> Self {
        tracing::error!(error = cause, "a transcription failed");
        let message = "the transcription failed; the log of the server says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The body.
    pub fn json(&self) -> serde_json::Value {
        let Self { code, param, message, .. } = self;
        json!({"error": {"message": message, "type": self.kind(), "param": param, "code": code}})
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.json())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Errors of bodies and forms.
impl From<ApiError> for OpenAiError {
    fn from(error: ApiError) -> Self {
        error.log();
        Self { retry_after: error.retry_after(), ..Self::new(error.status(), error.code(), error.to_string()) }
    }
}

impl From<SpeechError> for OpenAiError {
    fn from(error: SpeechError) -> Self {
        match error {
            SpeechError::UnknownModel { .. } => Self::unknown_model(error.to_string()),
            SpeechError::UnknownLanguage(_) | SpeechError::OnlyEnglish { .. } => {
                Self::field("language", error.to_string())
            }
            SpeechError::Cpu(_) | SpeechError::Model(_) | SpeechError::Runtime(_) | SpeechError::Failed(_) => {
                Self::internal(&error_chain(&error))
            }
        }
    }
}

impl From<RecordingError> for OpenAiError {
    fn from(error: RecordingError) -> Self {
        if let Some(refusal) = error.refusal() {
            let refused = Self::new(StatusCode::BAD_REQUEST, refusal.code(), refusal.to_string());
            return Self { param: Some("file"), ..refused };
        }
        match error {
            RecordingError::Speech(error) => error.into(),
            RecordingError::Sound(error) => error.into(),
            RecordingError::Cancelled => Self::internal("it was cancelled"),
        }
    }
}

impl From<SoundError> for OpenAiError {
    fn from(error: SoundError) -> Self {
        Self::internal(&error_chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_has_the_form_that_clients_read() {
        let response = OpenAiError::busy().into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "1");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        let field = OpenAiError::field("language", "unknown").json();
        assert_eq!(field["error"]["param"], "language");
        assert_eq!(field["error"]["type"], "invalid_request_error");
    }

    #[tokio::test]
    async fn a_failure_of_the_service_does_not_tell_its_cause() {
        let error = OpenAiError::from(SpeechError::Failed("/srv/models/secret".to_owned()));
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.json().to_string().contains("secret"));
    }
}
