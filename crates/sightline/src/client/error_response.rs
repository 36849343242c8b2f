//! Error responses: what they say, and whether a retry may succeed.

use std::time::Duration;

use contracts::api::Problem;
use platform::one_line;
use platform::sending::{UNKNOWN_DETECTOR, UNKNOWN_DETECTOR_HINT};
use reqwest::{Response, StatusCode};

/// An error response.
pub enum ErrorResponse {
    /// A retry may succeed after this time.
    RetryAfter(Duration, String),
    /// A retry cannot succeed.
    Permanent(String),
}

/// Reads an error response and decides whether a retry may succeed.
pub async fn read_error(response: Response) -> ErrorResponse {
    let refusal = Refusal::read(response).await;
    if refusal.is_transient() {
        ErrorResponse::RetryAfter(refusal.pause, refusal.message)
    } else {
        ErrorResponse::Permanent(refusal.message)
    }
}

/// An error response, for callers that decide by its code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// Code of the problem; empty where the body is none.
    pub code: String,
    /// The pause before a retry that the server asks for.
    pub pause: Duration,
    message: String,
}

impl Refusal {
    /// Reads an error response.
    pub async fn read(response: Response) -> Self {
        let status = response.status();
        let pause = platform::retry::after(response.headers()).unwrap_or(Duration::from_secs(1));
        let text = response.text().await.unwrap_or_default();
        let (code, detail) = match serde_json::from_str::<Problem>(&text) {
            Ok(Problem { code, detail, .. }) if code == UNKNOWN_DETECTOR => {
                (code, format!("{detail}; {UNKNOWN_DETECTOR_HINT}"))
            }
            Ok(Problem { code, detail, .. }) => {
                let detail = format!("{detail} ({code})");
                (code, detail)
            }
            Err(_) => (String::new(), text.chars().take(200).collect()),
        };
        Self { status, code, pause, message: one_line(&format_args!("{status}: {detail}")) }
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        // What a server does not have it will not have in a moment either.
        (self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED)
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&self.status)
    }
}
