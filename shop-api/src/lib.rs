//! The shop for audiobooks, over gRPC and REST.
//!
//! ```text
//! gRPC (a port of its own) ─┐                       ┌─▶ accounts: users, tokens
//! grpc-web ─────────────────┼─▶ access ─▶ services ─┼─▶ shop: catalogue, cart, orders, payments
//! REST ─────────────────────┘                       ├─▶ files: uploads, downloads ◀──▶ media store
//!                                                   └─▶ pipeline: media_tasks ──▶ audio-worker ──▶ media_progress
//! ```
//!
//! In: calls of `auth.v1` and `shop.v1`, requests of the REST twins, files. Out: users and tokens, books, orders, files.
//!
//! Guarantees: both protocols answer alike, because one application layer serves both ([`app`]). Who may call a method is said in the
//! protos, and refused by default ([`grpc`]). Files are never in memory as a whole ([`files`]).

pub mod app;
mod audio;
mod config;
mod error;
pub mod files;
pub mod grpc;
mod http;
pub mod program;
pub mod proto;
mod viewer;

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

use std::sync::Arc;

use accounts::{Accounts, AccountsService};
use anyhow::Context;
use api_kit::describe::Routes;
use openid::Provider;
use platform::Health;
use platform::config::HttpArgs;
use platform::http::{Limits, Listener, listen_http2, serve};
use platform::traces::Traces;
use shop::Shop;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use app::App;
use grpc::Grpc;

pub use audio::Audio;
pub use config::{Config, GrpcArgs, ProxyArgs};
pub use viewer::Viewer;

/// Dependencies of the service.
#[derive(Clone)]
pub struct Deps {
    /// Authenticates callers.
    pub accounts: Arc<dyn Accounts>,
    /// Registers users and issues tokens.
    pub accounts_service: Arc<AccountsService>,
    /// The OpenID provider, if one is set.
    pub openid: Option<Arc<Provider>>,
    /// The shop.
    pub shop: Shop,
    /// The work on recordings; `None` without it.
    pub audio: Option<Audio>,
    /// Starts the spans of the service.
    pub traces: Traces,
}

/// The ports of a process of this service.
pub struct Ports {
    /// REST and grpc-web.
    pub clients: Listener,
    /// gRPC; `None` if it is off.
    pub grpc: Option<Listener>,
}

/// Opens the port for gRPC, with the certificates of the port for clients; `None` if it is off.
///
/// # Errors
/// When the port cannot be opened or a setting is invalid. The message names the setting.
pub async fn listen(config: &Config, clients: &HttpArgs) -> anyhow::Result<Option<Listener>> {
    if config.grpc.grpc_addr == "off" {
        return Ok(None);
    }
    listen_http2(clients, &config.grpc.grpc_addr, "SIGHTLINE_GRPC_ADDR").await.map(Some)
}

/// The service is ready when accounts, shop and media store can be used. Without Redis it counts requests for itself.
pub fn health(deps: &Deps) -> Health {
    let shop = deps.shop.clone();
    let bus = deps.audio.as_ref().map(|audio| Arc::clone(&audio.bus));
    Health::default()
        .with_shared("accounts", &deps.accounts, |accounts| async move { accounts.check().await })
        .with_optional_shared("redis", deps.accounts.shared_limits(), |limits| async move { limits.check().await })
        .with("shop", move || {
            let shop = shop.clone();
            async move { shop.check().await }
        })
        // Without the log, books are worked on some seconds later.
        .with_optional_shared("bus", bus, |bus| async move { bus.check().await })
}

/// Serves the ports and does the shop's regular work until `stop`. A process with several services has [`ShopApi`] instead.
///
/// # Errors
/// When a setting is invalid or a listener fails.
pub async fn run(config: Config, deps: Deps, ports: Ports, stop: CancellationToken) -> anyhow::Result<()> {
    let Ports { clients, grpc } = ports;
    let leaving = clients.leaving();
    let health = health(&deps).until(leaving.clone());
    let shop_api = ShopApi::new(&config, &deps)?;
    let router = http::router(&shop_api.app, &health).merge(shop_api.grpc.web_routes());
    let serving = serve(clients.traced(deps.traces.clone()), router, Limits::default(), stop.clone());
    let calls = async {
        match grpc {
            Some(listener) => shop_api.serve_grpc(listener, &health, leaving, stop.clone()).await,
            None => Ok(()),
        }
    };
    let working = async {
        tokio::join!(Box::pin(deps.shop.work(stop.clone())), shop_api.follow_progress(stop.clone()));
        Ok(())
    };
    tokio::try_join!(serving, Box::pin(calls), Box::pin(working))?;
    Ok(())
}

/// The service without its ports. Clones share the state behind them. A process that has it beside others runs [`Shop::work`] and
/// [`Self::follow_progress`] too.
#[derive(Clone)]
pub struct ShopApi {
    app: App,
    grpc: Grpc,
    traces: Traces,
}

impl ShopApi {
    /// All routes and services.
    ///
    /// # Errors
    /// When the descriptors of the services are damaged.
    pub fn new(config: &Config, deps: &Deps) -> anyhow::Result<Self> {
        let app = App::new(config, deps);
        let grpc = Grpc::new(&app, config, deps).context("the services of gRPC")?;
        Ok(Self { app, grpc, traces: deps.traces.clone() })
    }

    /// The routes under `/v1/books` and the others of the shop with their part of the OpenAPI document, and those of grpc-web.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Routes<S> {
        http::routes().with_state(self.app.clone()).merge(OpenApiRouter::from(self.grpc.web_routes()))
    }

    /// Follows the progress of books until `stop`, for those who wait for it.
    pub async fn follow_progress(&self, stop: CancellationToken) {
        self.app.follow_progress(stop).await;
    }

    /// Serves the port for gRPC until `stop`. Its health service says what `health` says, and that nothing is served from `leaving` on.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve_grpc(
        &self,
        listener: impl Into<Listener>,
        health: &Health,
        leaving: CancellationToken,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let listener = listener.into().traced(self.traces.clone());
        self.grpc.serve(listener, health, leaving, stop).await
    }
}
