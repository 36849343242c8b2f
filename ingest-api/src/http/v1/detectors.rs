//! Names of detectors in a request.

use contracts::DetectorName;

use crate::http::app::App;
use crate::http::error::RequestError;

/// These detectors, each once.
///
/// # Errors
/// When the service has no such detector; the message lists those that it has.
pub fn known<'a>(app: &App, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<DetectorName>, RequestError> {
    let mut chosen: Vec<DetectorName> = Vec::new();
    for name in names {
        let Some(known) = app.detectors.iter().find(|known| known.as_str() == name) else {
            let all: Vec<&str> = app.detectors.iter().map(DetectorName::as_str).collect();
            let name: String = name.chars().take(64).collect();
            let reason = format!("detectors: there is no {name:?}; the detectors are {}", all.join(", "));
            return Err(RequestError::Invalid(reason));
        };
        if !chosen.contains(known) {
            chosen.push(known.clone());
        }
    }
    Ok(chosen)
}
