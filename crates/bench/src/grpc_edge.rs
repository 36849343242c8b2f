//! Clients that use up the port for gRPC: what they cost in memory, and how they slow others.
//!
//! `sightline up` runs in a child process. A few clients list books, alternately alone and beside idle connections, calls that are
//! cancelled as fast as possible, and messages of five mebibytes.

mod calls;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tokio::task::JoinSet;

use super::RunLength;
use super::child::{ChildProcess, free_port};
use super::report::{Goal, Report};
use super::sse::descriptors;
use super::stats::{Spread, Times};
use calls::Connection;

/// Number of ordinary clients.
const CLIENTS: usize = 8;
/// Pause of a client after an answer.
const CLIENT_PAUSE: Duration = Duration::from_millis(25);
/// Number of messages of five mebibytes.
const LARGE: u32 = 20;
const MIB: f64 = (1 << 20) as f64;
/// What an ordinary client calls.
const LIST: &str = "/shop.v1.ShopService/ListAudiobooks";

/// Size of the bench.
#[derive(Debug, Args)]
pub struct GrpcEdgeBench {
    /// Number of connections without calls
    #[arg(long, default_value_t = 2_000, value_name = "NUMBER")]
    grpc_idle_connections: u32,

    /// Number of calls that are cancelled
    #[arg(long, default_value_t = 10_000, value_name = "NUMBER")]
    grpc_resets: u32,
}

struct Service {
    child: ChildProcess,
    grpc: SocketAddr,
    token: String,
    _folder: tempfile::TempDir,
}

impl GrpcEdgeBench {
    /// Alternates rounds without and with the other clients.
    pub async fn run(&self, run_length: RunLength) -> anyhow::Result<Report> {
        let (rounds, length) = run_length.pick((5, Duration::from_secs(20)), (2, Duration::from_secs(8)));
        descriptors(self.grpc_idle_connections)?;
        let mut report = Report::new("grpc-edge");
        report.setting("idle_connections", self.grpc_idle_connections);
        report.setting("resets", self.grpc_resets);
        report.setting("large_messages", LARGE);
        report.setting("clients", CLIENTS);
        report.setting("rounds", rounds);
        report.setting("seconds_per_turn", length.as_secs());
        let service = Service::start().await?;
        // Warm-up: connections, caches and a first attack are not measured.
        service.ordinary(length / 4).await?;
        self.attack(&service).await?;
        let (mut ratios, mut grown, mut closed) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            let quiet = service.ordinary(length).await?.ms(0.99);
            let before = service.memory()?;
            let idle = calls::open_idle(service.grpc, self.grpc_idle_connections).await?;
            let (crowded, ended) = tokio::try_join!(service.ordinary(length), self.attack(&service))?;
            grown.push(service.memory()? - before);
            drop(idle);
            ratios.push(crowded.ms(0.99) / quiet);
            closed += ended;
        }
        service.child.kill().await?;
        report.with_goal(
            "ordinary calls' p99 beside them, to that alone",
            Spread::of(&ratios).median,
            "×",
            Goal::AtMost(2.0),
        );
        report.with_goal("memory that they add, most", Spread::of(&grown).max, "MiB", Goal::AtMost(32.0));
        report.figure("connections closed for cancelled calls", f64::from(closed), "");
        Ok(report)
    }

    /// Cancelled calls and large messages. Returns how many connections the server closed.
    async fn attack(&self, service: &Service) -> anyhow::Result<u32> {
        let large = calls::send_large(service.grpc, service.token.clone(), LARGE);
        let (closed, ()) = tokio::try_join!(calls::cancel(service.grpc, self.grpc_resets), large)?;
        Ok(closed)
    }
}

impl Service {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the embedded parts")?;
        let data = folder.path().join("data");
        let address = |port| format!("127.0.0.1:{port}");
        let (http, admin, grpc) = (address(free_port()?), address(free_port()?), address(free_port()?));
        let settings = [
            ("SIGHTLINE_DATA_DIR", data.display().to_string()),
            ("SIGHTLINE_HTTP_ADDR", http.clone()),
            ("SIGHTLINE_ADMIN_ADDR", admin),
            ("SIGHTLINE_GRPC_ADDR", grpc.clone()),
        ];
        let mut child = ChildProcess::up(&settings)?;
        child.wait_until_ready(&format!("http://{http}")).await?;
        let token = std::fs::read_to_string(data.join("admin.token")).context("the admin's token")?.trim().to_owned();
        Ok(Self { child, grpc: grpc.parse()?, token, _folder: folder })
    }

    /// Resident memory, in MiB.
    fn memory(&self) -> anyhow::Result<f64> {
        Ok(self.child.meter()?.resident()? as f64 / MIB)
    }

    /// Response times of ordinary clients on persistent connections. Fails when a call fails.
    async fn ordinary(&self, length: Duration) -> anyhow::Result<Times> {
        let until = Instant::now() + length;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (connection, token) = (Connection::open(self.grpc).await?, self.token.clone());
            clients.spawn(async move { connection.calls(LIST, &token, CLIENT_PAUSE, until).await });
        }
        let mut times = Vec::new();
        while let Some(ended) = clients.join_next().await {
            times.extend(ended??);
        }
        Ok(times.into_iter().collect())
    }
}
