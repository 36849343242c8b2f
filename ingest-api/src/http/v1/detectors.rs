//! Names of detectors in a request.

use api_kit::error::HttpError;
use contracts::DetectorName;

use http::StatusCode;

use crate::http::app::App;

/// The service has no such detector.
#[derive(Debug, thiserror::Error)]
#[error("detectors: there is no {name:?}; the detectors are {known}")]
pub struct UnknownDetector {
    name: String,
    known: String,
}

impl HttpError for UnknownDetector {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        // A code of its own: a program that names the same detectors with each frame can stop at the first.
        (StatusCode::UNPROCESSABLE_ENTITY, platform::sending::UNKNOWN_DETECTOR)
    }
}

/// These detectors, each once.
///
/// # Errors
/// When the service has no such detector; the message lists those that it has.
pub fn known<'a>(app: &App, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<DetectorName>, UnknownDetector> {
    let mut chosen: Vec<DetectorName> = Vec::new();
    for name in names {
        let Some(known) = app.detectors.iter().find(|known| known.as_str() == name) else {
            let all: Vec<&str> = app.detectors.iter().map(DetectorName::as_str).collect();
            let name: String = name.chars().take(64).collect();
            return Err(UnknownDetector { name, known: all.join(", ") });
        };
        if !chosen.contains(known) {
            chosen.push(known.clone());
        }
    }
    Ok(chosen)
}
