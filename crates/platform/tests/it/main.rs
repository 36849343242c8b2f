//! The HTTP ports, over real sockets and with real certificates.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod access_log;
mod certificates;
mod edge;
mod http2;
mod operator_ports;
mod slow_clients;
mod stopping;
mod test_server;
mod tls;
mod traces;
