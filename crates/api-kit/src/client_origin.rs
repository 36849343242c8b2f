//! The client of a request: its address, even behind proxies, and its program.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use accounts::Origin;
use axum::extract::ConnectInfo;
use http::header::USER_AGENT;
use http::{Extensions, HeaderMap, HeaderValue};

pub use crate::proxy_network::ProxyNetwork;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Maximum number of addresses of `X-Forwarded-For` that are parsed.
const MAX_PROXIES: usize = 16;

/// The client of a request with these headers and extensions. `trusted` are the proxies whose `X-Forwarded-For` counts.
pub fn origin(headers: &HeaderMap, extensions: &Extensions, trusted: &[ProxyNetwork]) -> Origin {
    // Without a connection, as in a test that calls the router, the address is the loopback address.
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(address)| address.ip().to_canonical());
    let client = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Origin { address: client_address(peer, headers, trusted), client }
}

/// The client's address: the last one in `X-Forwarded-For` that is not a trusted proxy. All
/// addresses before it may be forged by the client.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[ProxyNetwork]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    // Parsed as bytes, because a client may send invalid UTF-8.
    let lines = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let hops: Vec<&[u8]> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
    let mut nearest = peer;
    for hop in hops.into_iter().rev().take(MAX_PROXIES) {
        let Some(address) = parse_address(hop) else { break };
        nearest = address.to_canonical();
        if !is_trusted(nearest) {
            break;
        }
    }
    nearest
}

/// An IP address, with or without a port.
fn parse_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_decide_the_client_address() {
        let trusted: Vec<ProxyNetwork> = vec!["10.0.0.0/8".parse().unwrap()];
        let client = |peer: &str, lines: &[&str]| {
            let value = |line: &str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
            let lines = lines.iter().map(|line| (FORWARDED_FOR.parse().unwrap(), value(line)));
            let headers: HeaderMap = lines.collect();
            client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(client("203.0.113.9", &["1.2.3.4"]), "203.0.113.9", "the header of an untrusted peer is ignored");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["1.2.3.4, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["1.2.3.4", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["1.2.3.4, garbage, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["ü, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
    }
}
