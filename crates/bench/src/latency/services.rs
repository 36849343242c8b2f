//! All services: `sightline up` in a temporary folder, or the four programs on servers.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::child::{ChildProcess, free_port};
use crate::engine::Engine;
use crate::meter::Meter;
use crate::namespace::{Servers, TestNamespace};

/// The data folder of `sightline up` in the temporary one.
const DATA: &str = "data";

/// All services, running.
pub struct Services {
    /// Base URL of the API.
    pub url: String,
    /// Bearer token.
    pub token: String,
    /// Address of the worker's metrics.
    pub metrics: String,
    processes: Vec<ChildProcess>,
    namespace: Option<TestNamespace>,
    folder: TempDir,
}

type Settings = Vec<(&'static str, String)>;

impl Services {
    /// `sightline up` on embedded parts, with this engine or the installed model.
    pub async fn embedded(engine: Option<&Engine>) -> anyhow::Result<Self> {
        Self::embedded_with(engine, Settings::new()).await
    }

    /// [`Self::embedded`] with additional settings.
    pub async fn embedded_with(engine: Option<&Engine>, additional: Settings) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no folder for the embedded parts")?;
        let data = folder.path().join(DATA);
        let (url, metrics) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let mut settings = model(engine, folder.path())?;
        settings.extend([
            ("SIGHTLINE_DATA_DIR", data.display().to_string()),
            ("SIGHTLINE_HTTP_ADDR", url.clone()),
            ("SIGHTLINE_ADMIN_ADDR", metrics.clone()),
        ]);
        settings.extend(additional);
        let (url, metrics) = (format!("http://{url}"), format!("http://{metrics}/metrics"));
        let mut up = ChildProcess::up(&settings)?;
        up.wait_until_ready(&url).await?;
        let token = std::fs::read_to_string(data.join("admin.token")).context("the admin's token")?.trim().to_owned();
        Ok(Self { url, token, metrics, processes: vec![up], namespace: None, folder })
    }

    /// The data folder of `sightline up`.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }

    /// Processor time and memory of `sightline up`, or of ingest-api.
    pub fn meter(&self) -> anyhow::Result<Meter> {
        self.processes.first().context("no process runs")?.meter()
    }

    /// The four services on Kafka and MongoDB.
    pub async fn on_servers(servers: &Servers, engine: Option<&Engine>) -> anyhow::Result<Self> {
        let namespace = TestNamespace::create(servers).await?;
        let folder = tempfile::tempdir().context("no folder for the worker")?;
        let model = model(engine, folder.path())?;
        let start = |name: &str, own: Settings| {
            let (http, admin) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
            let addresses = vec![("SIGHTLINE_HTTP_ADDR", http.clone()), ("SIGHTLINE_ADMIN_ADDR", admin.clone())];
            let child = ChildProcess::service(name, &namespace.settings(&[addresses, own].concat()))?;
            anyhow::Ok((child, format!("http://{http}"), format!("http://{admin}")))
        };
        let state = folder.path().join("worker").display().to_string();
        let (mut alerts, alerts_url, _) = start("alert-stream", Settings::new())?;
        let (mut ingest, url, _) = start("ingest-api", vec![("SIGHTLINE_ALERT_STREAM_URL", alerts_url.clone())])?;
        let (mut worker, _, worker_admin) =
            start("detector-worker", [model, vec![("SIGHTLINE_WORKER_STATE_DIR", state)]].concat())?;
        let (mut indexer, _, indexer_admin) = start("indexer", Settings::new())?;
        alerts.wait_until_ready(&alerts_url).await?;
        ingest.wait_until_ready(&url).await?;
        worker.wait_until_ready(&worker_admin).await?;
        indexer.wait_until_ready(&indexer_admin).await?;
        let processes = vec![ingest, worker, indexer, alerts];
        let (token, metrics) = (namespace.token.clone(), format!("{worker_admin}/metrics"));
        Ok(Self { url, token, metrics, processes, namespace: Some(namespace), folder })
    }

    /// Kills the processes and deletes their data.
    pub async fn end(self) -> anyhow::Result<()> {
        for process in self.processes {
            process.kill().await?;
        }
        if let Some(namespace) = self.namespace {
            namespace.delete().await?;
        }
        self.folder.close().context("a folder could not be deleted")
    }
}

fn model(engine: Option<&Engine>, folder: &Path) -> anyhow::Result<Settings> {
    let Some(engine) = engine else { return Ok(Settings::new()) };
    let file = folder.join("models.yaml");
    engine.describe(&file)?;
    Ok(vec![("SIGHTLINE_MODELS_FILE", file.display().to_string())])
}
