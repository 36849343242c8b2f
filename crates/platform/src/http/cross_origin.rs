//! CORS for the requests that need it. An `OPTIONS` request that is no preflight reaches its route: clients of tus 1.0 read from the
//! response what the server supports. The layer of tower-http would answer it itself.

use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::Response;
use futures::future::Either;
use http::Method;
use http::header::ACCESS_CONTROL_REQUEST_METHOD;
use tower::{Layer, Service};
use tower_http::cors::{Cors, CorsLayer};

/// Adds CORS to routes.
#[derive(Clone)]
pub struct CrossOrigin(pub CorsLayer);

impl<S: Clone> Layer<S> for CrossOrigin {
    type Service = CrossOriginService<S>;

    fn layer(&self, routes: S) -> CrossOriginService<S> {
        CrossOriginService { cors: self.0.layer(routes.clone()), routes }
    }
}

/// Routes with CORS, and the same routes without.
#[derive(Clone)]
pub struct CrossOriginService<S> {
    cors: Cors<S>,
    routes: S,
}

impl<S> Service<Request> for CrossOriginService<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<<Cors<S> as Service<Request>>::Future, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.routes.poll_ready(context))?;
        self.cors.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let is_preflight = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() == Method::OPTIONS && !is_preflight {
            return Either::Right(self.routes.call(request));
        }
        Either::Left(self.cors.call(request))
    }
}
