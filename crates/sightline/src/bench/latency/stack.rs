//! The whole, running: `sightline up` on its own folder, or the four programs on servers.

use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::bench::child::{Child, free_port};
use crate::bench::engine::Engine;
use crate::bench::ground::{Ground, Servers};

/// See the head of this file.
pub struct Stack {
    /// Where frames go and alerts come from.
    pub url: String,
    /// What requests bear.
    pub token: String,
    /// Where the worker tells what it counts.
    pub metrics: String,
    processes: Vec<Child>,
    ground: Option<Ground>,
    folder: TempDir,
}

type Settings = Vec<(&'static str, String)>;

impl Stack {
    /// `sightline up` on embedded parts, with this engine or with its own model.
    pub async fn embedded(engine: Option<&Engine>) -> anyhow::Result<Self> {
        Self::embedded_with(engine, Settings::new()).await
    }

    /// The same with settings besides.
    pub async fn embedded_with(engine: Option<&Engine>, besides: Settings) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no folder for the embedded parts")?;
        let data = folder.path().join("data");
        let (url, metrics) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let mut settings = model(engine, folder.path())?;
        settings.extend([
            ("SIGHTLINE_DATA_DIR", data.display().to_string()),
            ("SIGHTLINE_HTTP_ADDR", url.clone()),
            ("SIGHTLINE_ADMIN_ADDR", metrics.clone()),
        ]);
        settings.extend(besides);
        let (url, metrics) = (format!("http://{url}"), format!("http://{metrics}/metrics"));
        let mut up = Child::own(&["up"], &settings)?;
        up.ready(&url).await?;
        let token = std::fs::read_to_string(data.join("admin.token")).context("the admin's token")?.trim().to_owned();
        Ok(Self { url, token, metrics, processes: vec![up], ground: None, folder })
    }

    /// The four programs on Kafka and `MongoDB`.
    pub async fn on_servers(servers: &Servers, engine: Option<&Engine>) -> anyhow::Result<Self> {
        let ground = Ground::lay(servers).await?;
        let folder = tempfile::tempdir().context("no folder for the worker")?;
        let model = model(engine, folder.path())?;
        let start = |name: &str, own: Settings| {
            let (http, admin) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
            let addresses = vec![("SIGHTLINE_HTTP_ADDR", http.clone()), ("SIGHTLINE_ADMIN_ADDR", admin.clone())];
            let child = Child::service(name, &ground.settings(&[addresses, own].concat()))?;
            anyhow::Ok((child, format!("http://{http}"), format!("http://{admin}")))
        };
        let state = folder.path().join("worker").display().to_string();
        let (mut alerts, alerts_url, _) = start("alert-stream", Settings::new())?;
        let (mut ingest, url, _) = start("ingest-api", vec![("SIGHTLINE_ALERT_STREAM_URL", alerts_url.clone())])?;
        let (mut worker, _, worker_admin) =
            start("detector-worker", [model, vec![("SIGHTLINE_WORKER_STATE_DIR", state)]].concat())?;
        let (mut indexer, _, indexer_admin) = start("indexer", Settings::new())?;
        alerts.ready(&alerts_url).await?;
        ingest.ready(&url).await?;
        worker.ready(&worker_admin).await?;
        indexer.ready(&indexer_admin).await?;
        let processes = vec![ingest, worker, indexer, alerts];
        let (token, metrics) = (ground.token.clone(), format!("{worker_admin}/metrics"));
        Ok(Self { url, token, metrics, processes, ground: Some(ground), folder })
    }

    /// Ends it and removes what it kept.
    pub async fn end(self) -> anyhow::Result<()> {
        for process in self.processes {
            process.kill().await?;
        }
        if let Some(ground) = self.ground {
            ground.clear().await?;
        }
        self.folder.close().context("a folder is left behind")
    }
}

fn model(engine: Option<&Engine>, folder: &Path) -> anyhow::Result<Settings> {
    let Some(engine) = engine else { return Ok(Settings::new()) };
    let file = folder.join("models.yaml");
    engine.describe(&file)?;
    Ok(vec![("SIGHTLINE_MODELS_FILE", file.display().to_string())])
}
