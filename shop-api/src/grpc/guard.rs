//! What happens to every call before and after its service.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use accounts::Caller;
use api_kit::auth::{AuthError, authenticate, bearer_token};
use api_kit::client_origin::origin;
use api_kit::error::{ApiError, ServiceError};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use http::request::Parts;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::deadline::Deadline;
use super::messages::{MessageBytes, Rules, checked};
use super::status::{GrpcError, status_of};
use super::web::IsWeb;
use crate::Config;
use crate::Viewer;
use crate::app::App;
use crate::app::access::{check_admin, check_user};
use crate::proto::{Access, Method};

/// Largest message of an upload: a piece of a file.
const PIECE: usize = 4 << 20;
/// Largest message of any other method that needs a credential.
const MESSAGE: usize = 256 << 10;
/// Largest message of a method that anybody may call: a password, or an ID token.
const OPEN_MESSAGE: usize = 32 << 10;

/// Largest message of a method.
const fn message_limit(method: &Method) -> usize {
    match method.access {
        Access::Admin if method.client_streaming => PIECE,
        Access::User | Access::Buyer | Access::Admin => MESSAGE,
        Access::Unspecified | Access::Public | Access::Bearer => OPEN_MESSAGE,
    }
}

/// What the guards of all methods share.
pub struct Guard {
    app: App,
    bytes: MessageBytes,
    /// Time limit for a call of one message each way without a deadline.
    call_limit: Duration,
    /// Streams for clients end then.
    stop: CancellationToken,
}

impl Guard {
    /// The guard of an interface with these settings.
    pub fn new(app: &App, config: &Config, stop: CancellationToken) -> Arc<Self> {
        let (bytes, call_limit) = (MessageBytes::new(config.grpc.grpc_bytes_in_flight, PIECE), config.grpc.grpc_call);
        Arc::new(Self { app: app.clone(), bytes, call_limit, stop })
    }

    /// Authenticates the caller as far as the method requires it.
    async fn admit(&self, method: &Method, parts: &mut Parts) -> Result<(), ApiError> {
        let origin = origin(&parts.headers, &parts.extensions, &self.app.trusted_proxies);
        match method.access {
            Access::Unspecified => return Err(GrpcError::Closed.into()),
            Access::Public => {}
            Access::Bearer => {
                bearer_token(&parts.headers).ok_or(AuthError::NoCredential)?;
            }
            // The shop knows who has bought what.
            Access::User | Access::Buyer => self.let_in(parts, check_user).await?,
            Access::Admin => self.let_in(parts, check_admin).await?,
        }
        parts.extensions.insert(origin);
        Ok(())
    }

    async fn let_in(&self, parts: &mut Parts, check: impl Fn(&Caller) -> Result<(), ApiError>) -> Result<(), ApiError> {
        let caller = authenticate(parts, &self.app).await?;
        check(&caller)?;
        let origin = origin(&parts.headers, &parts.extensions, &self.app.trusted_proxies);
        parts.extensions.insert(Viewer::new(caller, origin));
        Ok(())
    }

    /// The request for the service, and the end of the call.
    async fn prepare(&self, method: &Method, request: Request) -> Result<(Request, Option<Instant>), ApiError> {
        let (mut parts, body) = request.into_parts();
        let deadline = Deadline::of(&parts.headers).map_err(|_| GrpcError::InvalidTimeout)?;
        let end = deadline.or_within(method.is_unary().then_some(self.call_limit));
        self.within(end, self.admit(method, &mut parts)).await??;
        parts.extensions.insert(deadline);
        let knows_end = parts.extensions.get::<IsWeb>().is_none();
        let rules = Rules { limit: message_limit(method), may_be_empty: method.client_streaming, knows_end };
        let tenant = parts.extensions.get::<Viewer>().map(|viewer| viewer.caller.tenant.as_str());
        let bytes = self.bytes.of(tenant);
        Ok((Request::from_parts(parts, checked(body, rules, bytes)), end))
    }

    /// The output of `work`, unless the call ends before.
    async fn within<T>(&self, end: Option<Instant>, work: impl Future<Output = T>) -> Result<T, GrpcError> {
        match end {
            Some(end) => timeout_at(end, work).await.map_err(|_| GrpcError::DeadlineExceeded),
            None => Ok(work.await),
        }
    }

    async fn answer(
        &self,
        method: &Method,
        request: Request,
        next: Next,
    ) -> Result<(Response, Option<Instant>), ApiError> {
        let (request, end) = self.prepare(method, request).await?;
        let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
        let response = self.within(end, answering).await?;
        let response = response.map_err(|_| ServiceError::Internal(anyhow::anyhow!("a handler panicked")))?;
        Ok((response, end))
    }
}

/// Runs a call of `method`.
pub async fn guard(State((guard, method)): State<(Arc<Guard>, Method)>, request: Request, next: Next) -> Response {
    let answer = Answer::begin(&method);
    match guard.answer(&method, request, next).await {
        Ok((response, end)) => answer.with(response, end, method.server_streaming.then(|| guard.stop.clone())),
        Err(error) => answer.with(status_of(error).into_http::<Body>(), None, None),
    }
}
