//! Why a source has no further frames, in words for people.

use std::time::Duration;

use ffmpeg_next::Error;
use ffmpeg_next::error::{
    ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINVAL, EIO, ENETDOWN, ENETUNREACH, ENOTCONN, EPIPE,
    ETIMEDOUT,
};

use super::{Cause, Watch, certificate_error, is_about_certificate, last_error};
use crate::source::Address;

/// What FFmpeg tells before the name of a host that it cannot find, with the error of a connection that ends.
const UNKNOWN_NAME: &str = "Failed to resolve hostname ";

/// Why a source has no further frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The program stops.
    #[error("stopped")]
    Stopped,
    /// No frame came in time.
    #[error("no frame for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The user name or the password is wrong.
    #[error("the camera refuses the user name and password")]
    Refused,
    /// There are none, and they are needed.
    #[error("the camera demands a user name and a password, and none were given")]
    Demanded,
    /// A playlist names parts that are not there or not for us; the state of HTTP.
    #[error("the server refuses the parts of its playlist ({0})")]
    PartsRefused(&'static str),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// A source without access: with the user name and the password that it has, or without any.
    pub const fn without_access(has_credentials: bool) -> Self {
        if has_credentials { Self::Refused } else { Self::Demanded }
    }

    /// Whether each further try could lock an account of the camera.
    pub const fn is_about_access(&self) -> bool {
        matches!(self, Self::Refused | Self::Demanded)
    }
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
        Error::HttpUnauthorized => Failure::without_access(address.has_credentials()),
        Error::HttpForbidden if address.has_credentials() => Failure::Refused,
        Error::HttpForbidden => {
            Failure::Other("it answers 403: this address is not for us, or not any more".to_owned())
        }
        Error::Other { errno: ETIMEDOUT } => Failure::Other("it does not answer".to_owned()),
        Error::Other { errno: ECONNREFUSED } => Failure::Other("nothing listens there".to_owned()),
        Error::Other { errno: EHOSTUNREACH | ENETUNREACH } => Failure::Other("it cannot be reached".to_owned()),
        Error::HttpNotFound => Failure::Other("it answers 404: check the path of its address".to_owned()),
        Error::HttpBadRequest => Failure::Other("it answers 400: it does not understand the request".to_owned()),
        Error::HttpOther4xx => Failure::Other("it refuses the request (4xx)".to_owned()),
        Error::HttpServerError => Failure::Other("it answers with an error of its own (5xx)".to_owned()),
        // What a container refuses, and where a redirect may not lead.
        Error::Other { errno: EINVAL } => {
            let live = "it is in a form that is not supported, or redirects to where it must not";
            let file = "it is not a video, or in a container that is not supported";
            Failure::Other(if address.is_live() { live } else { file }.to_owned())
        }
        Error::InvalidData if !address.is_live() => {
            let told = last_error().map(|text| format!(" ({text})")).unwrap_or_default();
            Failure::Other(format!("it is not a video, or is damaged or incomplete{told}"))
        }
        // Whatever a camera does instead of an answer is this error.
        Error::InvalidData if address.is_rtsp() => {
            let told = last_error().map(|text| format!(" ({text})")).unwrap_or_default();
            Failure::Other(format!("it does not answer, or not as a server of RTSP does{told}"))
        }
        error => Failure::Other(explained(error, address.is_live())),
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

/// The error, with what FFmpeg told before it; in plain words where a connection ends, which happens to every camera.
pub(super) fn explained(error: Error, is_live: bool) -> String {
    let told = last_error();
    if is_live && let Some(plain) = plain(error, told.as_deref()) {
        return plain;
    }
    let named = match error {
        Error::InvalidData => "it is not a stream of images".to_owned(),
        Error::Eof => "it ends before the first image".to_owned(),
        error => error.to_string(),
    };
    match told {
        Some(told) if named.is_empty() => told,
        Some(told) => format!("{told} ({named})"),
        None if named.is_empty() => format!("FFmpeg has no words for its error {}", i32::from(error)),
        None => named,
    }
}

/// What has become of a connection, if the error is about that.
fn plain(error: Error, told: Option<&str>) -> Option<String> {
    let Error::Other { errno } = error else {
        return (error == Error::Eof).then(|| "the server closed the connection before the first image".to_owned());
    };
    if let Some((_, name)) = told.and_then(|told| told.split_once(UNKNOWN_NAME)) {
        return Some(format!("the name of its host is not known: {name}"));
    }
    match errno {
        EIO | ECONNRESET | EPIPE | ECONNABORTED | ENOTCONN => Some("the server closed the connection".to_owned()),
        ETIMEDOUT => Some("it does not answer any more".to_owned()),
        EHOSTUNREACH | ENETUNREACH | ENETDOWN => Some("it cannot be reached any more".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_connection_is_in_plain_words() {
        let said = |errno: i32, told: &str| plain(Error::Other { errno }, Some(told));
        let closed = Some("the server closed the connection".to_owned());
        for told in ["Stream ends prematurely at 18, should be 18446744073709551615", "Error in the pull function."] {
            assert_eq!(said(EIO, told), closed);
        }
        assert_eq!(said(ECONNRESET, ""), closed);
        let unknown = said(EIO, "Failed to resolve hostname gate.example: Name or service not known");
        let expected = "the name of its host is not known: gate.example: Name or service not known";
        assert_eq!(unknown.as_deref(), Some(expected));
        assert_eq!(said(ffmpeg_next::error::ENOMEM, "no memory"), None);
    }
}
