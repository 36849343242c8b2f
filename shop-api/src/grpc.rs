//! The gRPC interface: one route for each method of the protos, with a guard before it.
//!
//! ```text
//! HTTP/2, or grpc-web on the port for clients
//!    └▶ guard: deadline ▶ access ▶ size of messages ▶ service ▶ status, metrics
//!                            └ Viewer, Origin, Deadline in the request's extensions
//! ```
//!
//! In: calls. Out: messages, or a status whose details have the stable code of the error.
//!
//! Guarantees: a method without an option of access is refused, and so is one whose caller the option does not allow, before a byte of
//! its message is read. A message larger than the method's limit is refused by its length. A call ends at its deadline. A panic ends
//! one call. Messages in memory are bounded, in all.

mod admin_v1;
mod answer;
mod auth_v1;
pub(crate) mod codec;
mod deadline;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod health;
mod messages;
mod shop_v1;
mod status;
mod web;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use futures::future::{Either, select};
use platform::Health;
use platform::http::{Http2Limits, Listener, serve_http2};
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service;

use crate::app::App;
use crate::config::GrpcArgs;
use crate::proto::auth_v1::authentication_service_server::AuthenticationServiceServer;
use crate::proto::shop_v1::admin_service_server::AdminServiceServer;
use crate::proto::shop_v1::shop_service_server::ShopServiceServer;
use crate::proto::{Access, DESCRIPTORS, METHODS, Method};
use crate::{Config, Deps};
use admin_v1::AdminGrpc;
use auth_v1::AuthGrpc;
use guard::{Guard, guard};
use shop_v1::ShopGrpc;

pub use deadline::Deadline;
pub use status::{GrpcError, status_of, stream_error};

/// Methods of the services that are not ours. They say nothing that the published protos do not, and whether the service is ready.
const STANDARD: [Method; 4] = [
    standard("grpc.health.v1.Health", "/grpc.health.v1.Health/Check", false, false),
    standard("grpc.health.v1.Health", "/grpc.health.v1.Health/Watch", false, true),
    standard(
        "grpc.reflection.v1.ServerReflection",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        true,
        true,
    ),
    standard(
        "grpc.reflection.v1alpha.ServerReflection",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        true,
        true,
    ),
];

const fn standard(service: &'static str, path: &'static str, client_streaming: bool, server_streaming: bool) -> Method {
    Method { service, path, access: Access::Public, client_streaming, server_streaming }
}

/// The gRPC interface. Clones share it.
#[derive(Clone)]
pub struct Grpc {
    calls: Router,
    reporter: HealthReporter,
    limits: Http2Limits,
    /// Streams for clients end then.
    streams_end: CancellationToken,
}

impl Grpc {
    /// All services, with the state of the REST handlers.
    ///
    /// # Errors
    /// When the descriptors are damaged.
    pub fn new(app: &App, config: &Config, deps: &Deps) -> anyhow::Result<Self> {
        let (reporter, streams_end) = (HealthReporter::new(), CancellationToken::new());
        let calls = Calls { router: Router::new(), guard: Guard::new(app, config, streams_end.clone()) };
        let calls = calls
            .serving(&AuthenticationServiceServer::new(AuthGrpc::new(deps)))
            .serving(&ShopServiceServer::new(ShopGrpc(app.clone())))
            .serving(&AdminServiceServer::new(AdminGrpc(app.clone())))
            .serving(&HealthServer::new(HealthService::from_health_reporter(reporter.clone())))
            .serving(&reflection().build_v1()?)
            .serving(&reflection().build_v1alpha()?);
        Ok(Self { calls: calls.router, reporter, limits: limits(&config.grpc), streams_end })
    }

    /// Serves `listener` until `stop`. The service `grpc.health.v1.Health` says what `health` says, and from `leaving` on that nothing
    /// is served, so that clients go elsewhere.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        &self,
        listener: Listener,
        health: &Health,
        leaving: CancellationToken,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let unknown = || async { status_of(GrpcError::UnknownMethod).into_http::<Body>() };
        let serving = pin!(serve_http2(listener, self.calls.clone().fallback(unknown), self.limits, stop.clone()));
        let beside = pin!(async {
            let streams = async {
                stop.cancelled().await;
                self.streams_end.cancel();
            };
            tokio::join!(health::report(&self.reporter, health, leaving), streams);
        });
        match select(serving, beside).await {
            Either::Left((served, _)) => served,
            Either::Right(((), serving)) => serving.await,
        }
    }

    /// The routes of grpc-web, for the port for clients.
    pub fn web_routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        web::routes(self.calls.clone())
    }
}

/// Reflection of all protos. That of health is registered too, because its service is served.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn limits(args: &GrpcArgs) -> Http2Limits {
    Http2Limits { connections: args.grpc_connections, idle: args.grpc_idle, ..Http2Limits::default() }
}

/// The routes of calls, while they are put together.
struct Calls {
    router: Router,
    guard: Arc<Guard>,
}

impl Calls {
    /// Adds a route for each method of the service.
    fn serving<S>(mut self, service: &S) -> Self
    where
        S: Service<Request, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        for method in METHODS.iter().chain(&STANDARD).filter(|method| method.service == S::NAME) {
            let state = (Arc::clone(&self.guard), *method);
            let route = Router::new().route_service(method.path, service.clone());
            self.router = self.router.merge(route.layer(from_fn_with_state(state, guard)));
        }
        self
    }
}
