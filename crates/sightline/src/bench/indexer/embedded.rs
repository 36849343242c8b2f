//! The indexer on embedded parts, in a process of its own: the log and SQLite, as in `sightline up`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::Bus;
use bus::embedded::{EmbeddedBus, Options};
use clap::Args;
use contracts::{TopicRole, groups};
use platform::Common;
use store::SqliteDocuments;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio_util::sync::CancellationToken;

use super::{Work, results};
use crate::bench::child::Child;

/// How often it is looked whether the indexer is done.
const LOOK: Duration = Duration::from_millis(10);

/// What to index, and where.
#[derive(Debug, Args)]
pub struct EmbeddedPart {
    /// Folder for log and documents
    #[arg(long)]
    folder: PathBuf,
    /// Results to index
    #[arg(long)]
    results: usize,
    #[command(flatten)]
    config: indexer::Config,
    #[command(flatten)]
    common: Common,
}

impl EmbeddedPart {
    /// Fills the log, waits for a word, indexes all of it and says so.
    pub async fn run(self) -> anyhow::Result<()> {
        let bus = Arc::new(EmbeddedBus::open(&self.folder.join("log"), &self.common.topics()?, Options::default())?);
        let documents = Arc::new(SqliteDocuments::open(self.folder.join("documents.sqlite"))?);
        super::fill(&*bus.producer(), self.results).await?;
        println!("filled");
        let mut lines = BufReader::new(stdin()).lines();
        lines.next_line().await?;
        let (deps, stop) = (indexer::Deps { bus: bus.clone(), documents }, CancellationToken::new());
        let running = tokio::spawn(indexer::run(self.config, self.common, deps, stop.clone()));
        while bus.oldest_unconsumed(TopicRole::Results, groups::INDEXER).await?.is_some() {
            anyhow::ensure!(!running.is_finished(), "the indexer ended");
            tokio::time::sleep(LOOK).await;
        }
        println!("done");
        lines.next_line().await?;
        stop.cancel();
        running.await?
    }
}

/// What the indexer did on embedded parts, from its start to its last commit.
pub async fn measure(count: usize) -> anyhow::Result<Work> {
    let folder = tempfile::tempdir().context("no folder for the embedded parts")?;
    let (path, results) = (folder.path().display().to_string(), count.to_string());
    let mut part = Child::part(&["index-embedded", "--folder", &path, "--results", &results], &[])?;
    part.says("filled").await?;
    let meter = part.meter()?;
    let (begun, cpu) = (Instant::now(), meter.cpu()?);
    part.tell("go").await?;
    part.says("done").await?;
    let (took, cpu) = (begun.elapsed(), meter.cpu()? - cpu);
    part.kill().await?;
    Ok(Work { documents: results::Counts::of(count).all() as f64, took, cpu, server: None })
}
