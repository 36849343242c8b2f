//! Why a source has no further frames, in words for people.

use std::time::Duration;

use ffmpeg_next::Error;
use ffmpeg_next::error::{ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};

use super::{Cause, Watch, certificate_error, is_about_certificate, last_error};
use crate::source::Address;

/// Why a source has no further frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The program stops.
    #[error("stopped")]
    Stopped,
    /// No frame came in time.
    #[error("no frame for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The user name or the password is wrong, or one is needed.
    #[error("the camera refuses the user name and password")]
    Refused,
    /// A playlist names parts that are not there or not for us; the state of HTTP.
    #[error("the server refuses the parts of its playlist ({0})")]
    PartsRefused(&'static str),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Why a source cannot be opened.
pub(super) fn failure(error: Error, watch: &Watch, limit: Duration, address: &Address) -> Failure {
    if watch.cause() == Some(Cause::Stop) {
        return Failure::Stopped;
    }
    // A stalled one as well: FFmpeg tries the parts of a playlist again and again.
    if let Some(told) = certificate_error() {
        return not_accepted(&told);
    }
    if watch.cause() == Some(Cause::Stalled) {
        return Failure::Stalled(limit);
    }
    match error {
        Error::HttpUnauthorized | Error::HttpForbidden => Failure::Refused,
        Error::Other { errno: ETIMEDOUT } => Failure::Other("it does not answer".to_owned()),
        Error::Other { errno: ECONNREFUSED } => Failure::Other("nothing listens there".to_owned()),
        Error::Other { errno: EHOSTUNREACH | ENETUNREACH } => Failure::Other("it cannot be reached".to_owned()),
        Error::HttpNotFound => Failure::Other("it answers 404: check the path of its address".to_owned()),
        Error::HttpBadRequest => Failure::Other("it answers 400: it does not understand the request".to_owned()),
        Error::HttpOther4xx => Failure::Other("it refuses the request (4xx)".to_owned()),
        Error::HttpServerError => Failure::Other("it answers with an error of its own (5xx)".to_owned()),
        Error::InvalidData if !address.is_live() => {
            let told = last_error().map(|text| format!(" ({text})")).unwrap_or_default();
            Failure::Other(format!("it is not a video, or is damaged or incomplete{told}"))
        }
        error => Failure::Other(explained(error)),
    }
}

fn not_accepted(told: &str) -> Failure {
    let advice = "name its authority (tls_ca_file), or turn the check off (tls_verify)";
    Failure::Other(format!("its certificate is not accepted ({told}); {advice}"))
}

/// Why a tunnel did not reach the camera.
pub(super) fn not_reached(told: &str) -> Failure {
    if is_about_certificate(told) { not_accepted(told) } else { Failure::Other(told.to_owned()) }
}

/// The error, with what FFmpeg told before it.
pub(super) fn explained(error: Error) -> String {
    let named = match error {
        Error::InvalidData => "it is not a stream of images".to_owned(),
        Error::Eof => "it ends before the first image".to_owned(),
        error => error.to_string(),
    };
    match last_error() {
        Some(told) if named.is_empty() => told,
        Some(told) => format!("{told} ({named})"),
        None if named.is_empty() => format!("FFmpeg has no words for its error {}", i32::from(error)),
        None => named,
    }
}
