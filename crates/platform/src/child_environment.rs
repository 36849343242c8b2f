//! The environment of a process that decodes foreign data, and so is the first to be taken over.

use std::ffi::OsString;

/// Where libraries and certificates are, the proxy, the terminal, and how to log. Nothing else, because the settings of a service have
/// credentials.
const PASSED_ON: [&str; 19] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "TERM",
    "NO_COLOR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SIGHTLINE_LOG",
    "SIGHTLINE_LOG_FORMAT",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// The variables of this process that such a process gets.
pub fn child_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| PASSED_ON.iter().any(|passed| name == passed))
}
