//! `sightline restore`: makes a data folder of a backup, after checking every file of it, and sends the messages of a log on Kafka to
//! empty topics.
//!
//! It writes into an empty folder only. Until everything has succeeded, also what is sent to Kafka, the folder has a mark, and `up`
//! refuses to start on a folder with the mark of an interrupted restore.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use bus::embedded::LogFiles;
use bus::{KafkaArgs, TopicArgs};
use clap::Args;
use tokio::task::block_in_place;

use super::copies::{check_outside, copy_folder, sync_all, sync_parent};
use super::kafka_log::{self, KafkaLog};
use super::manifest::{self, Manifest};
use crate::data_dir::{DataDir, RESTORE_MARK, create_private_files};
use crate::out;
use crate::up::dependencies::LOG_FOLDER;

/// Make a data folder of a backup, or check the backup
#[derive(Debug, Args)]
pub struct Restore {
    /// Folder of the backup
    #[arg(value_name = "FOLDER")]
    from: PathBuf,

    /// Only check that the backup is complete and undamaged, and that this version can restore it
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    data_dir: DataDir,

    #[command(flatten, next_help_heading = "The log on Kafka")]
    kafka: KafkaArgs,

    #[command(flatten)]
    topics: TopicArgs,
}

impl Restore {
    /// Runs the command and prints the result.
    pub async fn run(self) -> anyhow::Result<()> {
        let manifest = Manifest::read(&self.from)?;
        if self.check {
            block_in_place(|| manifest.verify(&self.from))?;
            return out::line(format_args!("{}; complete and undamaged", manifest.summary()));
        }
        // Everything that can refuse comes before the first change.
        let data = if manifest.has_data_folder() { Some(self.data_dir.path()?) } else { None };
        if let Some(data) = &data {
            check_outside(data, &self.from)?;
            check_empty(data)?;
        }
        let kafka = self.kafka_log(&manifest).await?;
        block_in_place(|| manifest.verify(&self.from))?;
        create_private_files();
        let copy = data.as_deref().map(|data| block_in_place(|| begin(&self.from, data))).transpose()?;
        if let Some(log) = kafka {
            let messages = self.import(&log, copy.as_deref()).await?;
            let expected = manifest.kafka_messages.unwrap_or(messages);
            ensure!(
                messages == expected,
                "{messages} of the backup's {expected} messages were sent to Kafka; delete the topics, create them \
                 again with `sightline topics apply`, and restore again"
            );
            out::line(format_args!("{}; {messages} messages were sent to Kafka", manifest.summary()))?;
        }
        if let (Some(data), Some(copy)) = (&data, &copy) {
            block_in_place(|| finish(copy, data))?;
            out::line(format_args!("{}; restored to {}", manifest.summary(), data.display()))?;
        }
        out::line(
            "later changes are gone: a user or a token that was deleted, disabled or revoked since is valid again, and a face that \
             was deleted, or whose consent was withdrawn, is found again; repeat such changes before others reach the server",
        )
    }
}

impl Restore {
    /// The cluster for the messages of the backup, if it has any; its topics are empty.
    async fn kafka_log(&self, manifest: &Manifest) -> anyhow::Result<Option<KafkaLog>> {
        match (manifest.schema.kafka, &self.kafka.kafka_brokers) {
            (None, None) => Ok(None),
            (Some(_), None) => {
                bail!("the backup has messages of a log on Kafka; name its brokers with SIGHTLINE_KAFKA_BROKERS")
            }
            (None, Some(_)) => bail!(
                "SIGHTLINE_KAFKA_BROKERS is set, but the log of the backup was embedded; it can be restored without Kafka only"
            ),
            (Some(_), Some(_)) => {
                let log = KafkaLog::connect(&self.kafka, self.topics.load()?).await?;
                log.check_empty().await?;
                Ok(Some(log))
            }
        }
    }

    /// Sends the messages of the backup; returns their number. They are read from a copy of it, because opening a log changes its files:
    /// `copy`, or a temporary one if no data folder is restored.
    async fn import(&self, log: &KafkaLog, copy: Option<&Path>) -> anyhow::Result<u64> {
        let messages = match copy {
            Some(copy) => log.import(&copy.join(kafka_log::FOLDER)).await?,
            None => {
                let copy = tempfile::tempdir()?;
                block_in_place(|| copy_folder(&self.from.join(kafka_log::FOLDER), copy.path()))?;
                log.import(copy.path()).await?
            }
        };
        log.close().await?;
        Ok(messages)
    }
}

/// Refuses a folder with any file in it.
fn check_empty(data: &Path) -> anyhow::Result<()> {
    check_entries(data, 0)
}

/// Refuses a folder with more than `expected` entries.
fn check_entries(data: &Path, expected: usize) -> anyhow::Result<()> {
    let mut entries = match fs::read_dir(data) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("SIGHTLINE_DATA_DIR: {} cannot be read", data.display()))?,
    };
    match entries.nth(expected) {
        None => Ok(()),
        Some(_) => bail!(
            "SIGHTLINE_DATA_DIR: {} is not empty; a backup is restored into an empty folder only, so move its files away, or \
             name another folder with --data-dir",
            data.display()
        ),
    }
}

/// Copies into a folder below the data folder, so that an interrupted restore is never taken for data. Returns that folder.
fn begin(from: &Path, data: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(data).with_context(|| format!("{} cannot be created", data.display()))?;
    let copy = data.join(RESTORE_MARK);
    fs::create_dir(&copy).with_context(|| format!("{} cannot be created", copy.display()))?;
    // From here on no `up` starts on the folder. One that was started since the first check has written files.
    if let Err(error) = check_entries(data, 1) {
        fs::remove_dir(&copy)?;
        return Err(error);
    }
    copy_folder(from, &copy)?;
    fs::remove_file(copy.join(manifest::FILE))?;
    let log = copy.join(LOG_FOLDER);
    if log.exists() {
        LogFiles::list(&log)?.renew_topic_ids()?;
    }
    sync_all(&copy)?;
    Ok(copy)
}

/// Moves the copy up into the data folder, and removes the mark.
fn finish(copy: &Path, data: &Path) -> anyhow::Result<()> {
    let sent = copy.join(kafka_log::FOLDER);
    if sent.exists() {
        fs::remove_dir_all(&sent).with_context(|| format!("{} cannot be deleted", sent.display()))?;
    }
    for entry in fs::read_dir(copy)? {
        let entry = entry?;
        fs::rename(entry.path(), data.join(entry.file_name()))?;
    }
    sync_parent(copy)?;
    fs::remove_dir(copy)?;
    sync_parent(copy)
}
