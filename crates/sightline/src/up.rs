//! `sightline up`: the four services in one process, on embedded parts or on the servers that are set.
//!
//! It starts the very same `run` functions as the services' own programs. What is embedded lives in one locked folder;
//! each part is swapped for a server by setting that server's address.

pub mod backends;
mod greeting;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use platform::config::{
    AdminTokenArgs, BlobArgs, DatabaseArgs, HttpArgs, KafkaArgs, MongoArgs, OperatorArgs, RedisArgs, TokenArgs,
};
use platform::http::Listener;
use platform::{Common, Health};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::data_dir::DataDir;
use backends::Backends;

/// Runs everything in this process
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    http: HttpArgs,

    #[command(flatten)]
    operator: OperatorArgs,

    #[command(flatten)]
    common: Common,

    #[command(flatten, next_help_heading = "Where things are kept")]
    data_dir: DataDir,

    #[command(flatten)]
    embedded: backends::EmbeddedArgs,

    #[command(flatten, next_help_heading = "Servers instead of embedded parts")]
    kafka: KafkaArgs,

    #[command(flatten)]
    mongo: MongoArgs,

    #[command(flatten)]
    blobs: BlobArgs,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    redis: RedisArgs,

    #[command(flatten)]
    admin_token: AdminTokenArgs,

    #[command(flatten, next_help_heading = "Tokens and limits")]
    tokens: TokenArgs,

    #[command(flatten, next_help_heading = "ingest-api")]
    ingest: ingest_api::Config,

    #[command(flatten, next_help_heading = "detector-worker")]
    worker: detector_worker::Config,

    #[command(flatten, next_help_heading = "indexer")]
    indexer: indexer::Config,

    #[command(flatten, next_help_heading = "alert-stream")]
    alerts: alert_stream::Config,
}

impl Up {
    /// Runs until a signal, or until a part fails.
    pub async fn run(self) -> anyhow::Result<()> {
        platform::telemetry::init(&self.operator.log, self.operator.log_format)?;
        platform::telemetry::metrics();
        let stop = platform::shutdown::on_signal()?;
        // The port first: it is what is most often taken, and costs nothing to find out.
        let public = platform::http::listen(&self.http).await?;
        let backends = Backends::open(&self).await?;
        let inner =
            TcpListener::bind("127.0.0.1:0").await.context("no port for alert-stream on the loopback interface")?;
        let grace = Duration::from_secs(self.operator.stop_grace_seconds);
        platform::shutdown::within(grace, stop.clone(), self.serve(public, inner, backends, stop)).await
    }

    async fn serve(
        mut self,
        public: Listener,
        inner: TcpListener,
        backends: Backends,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        // What survives a crash belongs to the data, not to the system's temporary folder.
        self.worker.worker_state_dir.get_or_insert(backends.folder.join("worker"));
        self.ingest.alert_stream_url = format!("http://{}", inner.local_addr()?).parse()?;
        let health = self.health(&backends);
        let extra = crate::dlq::admin::router(backends.bus.clone());
        let admin = platform::http::admin(&self.operator.admin_addr, &health, extra).await?;
        // What comes by this port came by the public one before, which has its line of the access log.
        let inner = Listener::from(inner).unlogged();
        let greeting = self.greeting(&public, admin.as_ref().map(|(listener, _)| listener), &backends)?;

        let mut parts = JoinSet::new();
        let (common, bus) = (self.common, backends.bus.clone());
        // Clients ask one port whether all is ready, so it answers for the other services too.
        let ingest = ingest_api::Deps { other_services: health.clone(), ..backends.ingest() };
        parts.spawn(ingest_api::run(self.ingest, common.clone(), ingest, public, stop.clone()));
        parts.spawn(detector_worker::run(self.worker, common.clone(), backends.worker(), stop.clone()));
        parts.spawn(indexer::run(self.indexer, common.clone(), backends.indexer(), stop.clone()));
        parts.spawn(alert_stream::run(self.alerts, common, backends.alerts(), inner, stop.clone()));
        parts.spawn(backends.directory.clone().run(stop.clone()));
        parts.spawn(platform::http::serve_admin(admin, stop.clone()));
        parts.spawn(greeting.when_ready(health, stop.clone()));

        let mut outcome = Ok(());
        while let Some(ended) = parts.join_next().await {
            let ended = ended.context("a part ended abruptly").and_then(|result| result);
            if let Err(error) = ended
                && outcome.is_ok()
            {
                // The first failure is the one that tells what is wrong; the others follow from the stop.
                outcome = Err(error);
                stop.cancel();
            }
        }
        bus.close().await?;
        outcome
    }

    fn health(&self, backends: &Backends) -> Health {
        ingest_api::health(&self.ingest, &backends.ingest())
            .and(detector_worker::health(&self.worker, &backends.worker()))
            .and(indexer::health(&self.indexer, &backends.indexer()))
            .and(alert_stream::health(&self.alerts, &backends.alerts()))
    }
}

impl Backends {
    fn ingest(&self) -> ingest_api::Deps {
        ingest_api::Deps {
            bus: Arc::clone(&self.bus),
            documents: Arc::clone(&self.documents),
            blobs: Arc::clone(&self.blobs),
            accounts: Arc::clone(&self.accounts),
            directory: self.directory.clone(),
            other_services: Health::default(),
        }
    }

    fn worker(&self) -> detector_worker::Deps {
        self.worker.clone()
    }

    fn indexer(&self) -> indexer::Deps {
        indexer::Deps { bus: Arc::clone(&self.bus), documents: Arc::clone(&self.documents) }
    }

    fn alerts(&self) -> alert_stream::Deps {
        alert_stream::Deps { bus: Arc::clone(&self.bus), accounts: Arc::clone(&self.accounts) }
    }
}
