//! The indexer in a child process, on the embedded log and SQLite, as in `sightline up`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::Bus;
use bus::TopicArgs;
use bus::embedded::{EmbeddedBus, Options};
use clap::Args;
use contracts::{TopicRole, groups};
use rules::BuiltInRuleSettings;
use store::SqliteDocuments;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio_util::sync::CancellationToken;

use super::{Measurement, results};
use crate::child::ChildProcess;

/// Interval of progress checks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct EmbeddedIndexerChild {
    /// Folder for log and documents
    #[arg(long)]
    folder: PathBuf,
    /// Results to index
    #[arg(long)]
    results: usize,
    #[command(flatten)]
    config: indexer::Config,
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    built_ins: BuiltInRuleSettings,
}

impl EmbeddedIndexerChild {
    /// Fills the log, waits for `go`, indexes everything, and prints `done`.
    pub async fn run(self) -> anyhow::Result<()> {
        let bus = Arc::new(EmbeddedBus::open(&self.folder.join("log"), &self.topics.load()?, Options::default())?);
        let documents = Arc::new(SqliteDocuments::open(self.folder.join("documents.sqlite"))?);
        super::fill(&*bus.producer(), self.results).await?;
        println!("filled");
        let mut lines = BufReader::new(stdin()).lines();
        lines.next_line().await?;
        let deps = indexer::Deps {
            bus: bus.clone(),
            documents: documents.clone(),
            rules: documents.clone(),
            watchlists: documents,
            traces: platform::traces::Traces::off(),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(indexer::run(self.config, self.built_ins, deps, stop.clone()));
        while bus.oldest_unconsumed(TopicRole::Results, groups::INDEXER).await?.is_some() {
            anyhow::ensure!(!running.is_finished(), "the indexer ended");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        println!("done");
        lines.next_line().await?;
        stop.cancel();
        running.await?
    }
}

/// Measures the embedded indexer from its start to its last commit.
pub async fn measure(count: usize) -> anyhow::Result<Measurement> {
    let folder = tempfile::tempdir().context("no folder for the embedded parts")?;
    let (path, results) = (folder.path().display().to_string(), count.to_string());
    let mut child = ChildProcess::bench(&["index-embedded", "--folder", &path, "--results", &results], &[])?;
    child.expect_line("filled").await?;
    let meter = child.meter()?;
    let (started, cpu) = (Instant::now(), meter.cpu()?);
    child.send_line("go").await?;
    child.expect_line("done").await?;
    let (took, cpu) = (started.elapsed(), meter.cpu()? - cpu);
    child.kill().await?;
    Ok(Measurement { documents: results::Counts::of(count).all() as f64, took, cpu, server: None })
}
