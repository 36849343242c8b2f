//! Requests and responses that are passed on to and from another service of the installation.

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};

/// Headers that belong to one connection (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 5] =
    [CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")];

/// The headers without those of the connection.
pub fn forwarded_headers(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    kept
}
