//! Who is at the other end of a connection, for the handlers of its requests.

use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tower::Service;

/// The address at the other end of the connection, among a request's extensions. A proxy's, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// A router whose requests carry the [`Peer`] of their connection. Not a layer: that would make every connection a copy of
/// every route.
#[derive(Clone)]
pub(super) struct Known {
    router: Router,
    peer: Option<Peer>,
}

impl Known {
    pub(super) fn of(stream: &TcpStream, router: Router) -> Self {
        // Without an address the client is gone already.
        Self { router, peer: stream.peer_addr().ok().map(|address| Peer(address.ip().to_canonical())) }
    }
}

impl Service<Request<Incoming>> for Known {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.router.call(request)
    }
}
