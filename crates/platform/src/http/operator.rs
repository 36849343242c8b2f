//! The operator's ports. The admin port has health, metrics and operator calls and must not be exposed. The probe port has
//! `/healthz`, `/readyz` and `/metrics` only, so that an orchestrator and Prometheus may reach it from outside the container.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Limits, bind, serve};
use crate::Health;
use crate::config::OperatorArgs;

/// Maximum number of connections of the probe port: an orchestrator or a Prometheus needs one or two.
const PROBE_CONNECTIONS: usize = 64;

/// Open ports that do not serve requests yet.
pub struct OperatorPorts {
    admin: Option<Port>,
    probe: Option<Port>,
}

struct Port {
    listener: TcpListener,
    routes: Router,
    limits: Limits,
}

impl OperatorPorts {
    /// Opens the ports that are not `off`. `admin_routes` are added to the admin port.
    ///
    /// # Errors
    /// When a port cannot be opened. The message names the setting.
    pub async fn open(settings: &OperatorArgs, health: &Health, admin_routes: Router) -> anyhow::Result<Self> {
        let metrics = get(|| async { crate::telemetry::metrics().render() });
        let probe_routes = health.router().route("/metrics", metrics);
        let admin_routes = probe_routes.clone().merge(admin_routes);
        let probe_limits = Limits { connections: PROBE_CONNECTIONS, ..Limits::default() };
        Ok(Self {
            admin: open(&settings.admin_addr, "SIGHTLINE_ADMIN_ADDR", admin_routes, Limits::default()).await?,
            probe: open(&settings.probe_addr, "SIGHTLINE_PROBE_ADDR", probe_routes, probe_limits).await?,
        })
    }

    /// Address of the admin port; `None` when it is off.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|port| port.listener.local_addr().ok())
    }

    /// Address of the probe port; `None` when it is off.
    pub fn probe_addr(&self) -> Option<SocketAddr> {
        self.probe.as_ref().and_then(|port| port.listener.local_addr().ok())
    }

    /// Serves both ports until `stop`.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::try_join!(answer(self.admin, stop.clone()), answer(self.probe, stop))?;
        Ok(())
    }
}

async fn open(address: &str, key: &str, routes: Router, limits: Limits) -> anyhow::Result<Option<Port>> {
    if address == "off" {
        return Ok(None);
    }
    Ok(Some(Port { listener: bind(address, key).await?, routes, limits }))
}

async fn answer(port: Option<Port>, stop: CancellationToken) -> anyhow::Result<()> {
    match port {
        Some(Port { listener, routes, limits }) => serve(listener, routes, limits, stop).await,
        None => {
            stop.cancelled().await;
            Ok(())
        }
    }
}
