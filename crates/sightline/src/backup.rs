//! `sightline backup`: a copy of the data folder, also while `sightline up` uses it; and `sightline restore`.
//!
//! Out: a folder with the log and the positions of its consumers, documents, images, accounts, the files of the shop and the admin's
//! token, and a manifest with versions and checksums. It appears under its name only when it is complete and on the disk. Of a log on Kafka it has the
//! messages that a restore needs. Documents, images, accounts and files on servers are not in it; their own programs back them up, after
//! this command (docs/BACKUP.md).
//!
//! Guarantee: every frame that was acknowledged before the command was started is in the backup, processed or not. This follows from
//! the order of the copies, since every service stores its effects before it marks its input as finished:
//!
//! 1. the positions of the consumers: what they count as finished has had its effects;
//! 2. the log: every message after the positions, unless all its consumers have finished it in between;
//! 3. the documents: the effects of every message that is not in the copy of the log;
//! 4. the images, to which documents and messages refer;
//! 5. the accounts, with the books and orders of the shop;
//! 6. the finished files of the shop, to which books refer. One that no book has any more is kept for two days, so it is still there.
//!
//! A message that was processed between two steps is processed again after a restore, and its ids make that harmless.

mod copies;
mod kafka_log;
mod manifest;
pub mod restore;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use bus::embedded::LogFiles;
use bus::{KafkaArgs, TopicArgs};
use clap::Args;
use contracts::FrameArgs;
use ingest_api::WorkerGroupArgs;
use jiff::Timestamp;
use store::{BlobArgs, DatabaseArgs, MediaArgs, MongoArgs};
use tokio::task::block_in_place;

use self::copies::Copies;
use self::kafka_log::KafkaLog;
use self::manifest::Manifest;
use crate::data_dir::{DataDir, create_private_files, token_file};
use crate::out;
use crate::up::dependencies::{ACCOUNTS_FILE, BLOBS_FOLDER, DOCUMENTS_FILE, LOG_FOLDER, MEDIA_OBJECTS};

/// Copy the data folder to a new folder, also while `sightline up` runs; `restore` makes a data folder of it again
#[derive(Debug, Args)]
pub struct Backup {
    /// Folder of the backup; must not exist
    #[arg(value_name = "FOLDER")]
    to: PathBuf,

    #[command(flatten)]
    data_dir: DataDir,

    #[command(flatten, next_help_heading = "Servers instead of embedded parts")]
    kafka: KafkaArgs,

    #[command(flatten)]
    topics: TopicArgs,

    #[command(flatten)]
    frames: FrameArgs,

    #[command(flatten)]
    workers: WorkerGroupArgs,

    #[command(flatten)]
    mongo: MongoArgs,

    #[command(flatten)]
    blobs: BlobArgs,

    #[command(flatten)]
    media: MediaArgs,

    #[command(flatten)]
    database: DatabaseArgs,
}

impl Backup {
    /// Runs the command and prints the result.
    pub async fn run(self) -> anyhow::Result<()> {
        let to = std::path::absolute(&self.to)?;
        ensure!(!to.exists(), "{} exists; name a new folder", to.display());
        if let Ok(data) = self.data_dir.path() {
            copies::check_outside(&to, &data)?;
        }
        create_private_files();
        let partial = create_partial(&to)?;
        let made = self.fill(&partial).await.and_then(|manifest| {
            fs::rename(&partial, &to).with_context(|| format!("{} cannot be renamed", partial.display()))?;
            copies::sync_parent(&to)?;
            Ok(manifest)
        });
        if made.is_err() {
            // A partial backup is of no use, and the disk may be full.
            drop(fs::remove_dir_all(&partial));
        }
        let manifest = made?;
        out::line(manifest.summary())?;
        for elsewhere in &manifest.elsewhere {
            out::line(format_args!("not in this backup: {elsewhere}; back it up now, as docs/BACKUP.md says"))?;
        }
        Ok(())
    }

    async fn fill(&self, to: &Path) -> anyhow::Result<Manifest> {
        let mut manifest = Manifest::new(Timestamp::now(), self.elsewhere());
        if self.kafka.kafka_brokers.is_some() {
            let log = KafkaLog::connect(&self.kafka, self.topics.load()?).await?;
            let messages = log.export(&self.workers.names(&self.frames), &to.join(kafka_log::FOLDER)).await?;
            manifest.kafka_messages = Some(messages);
            log.close().await?;
            manifest.schema.kafka = Some(LogFiles::VERSION);
        }
        block_in_place(|| {
            self.copy_data_folder(to, &mut manifest)?;
            manifest.files = manifest::files_in(to)?;
            manifest.write(to)?;
            copies::sync_all(to)?;
            Ok(manifest)
        })
    }

    /// Copies the parts that are in the data folder, in the order of the guarantee.
    fn copy_data_folder(&self, to: &Path, manifest: &mut Manifest) -> anyhow::Result<()> {
        // Services have no data folder. That of an `up` with servers only has the admin's token; it must be named, because the
        // default folder may be another installation's.
        if self.has_no_data_folder() {
            return Ok(());
        }
        let data = self.data_dir.path()?;
        let copies = Copies { from: &data, to };
        if self.kafka.kafka_brokers.is_none() {
            manifest.schema.log = Some(copies.log(LOG_FOLDER)?);
        }
        if self.mongo.mongodb_uri.is_none() {
            manifest.schema.documents = Some(copies.database(DOCUMENTS_FILE, store::copy_documents)?);
        }
        if self.blobs.blob_url.is_none() {
            copies.folder(BLOBS_FOLDER)?;
        }
        if self.database.database_url.is_none() {
            manifest.schema.accounts = Some(copies.database(ACCOUNTS_FILE, store::copy_accounts)?);
        }
        if self.media.media_url.is_none() {
            copies.folder(MEDIA_OBJECTS)?;
        }
        if token_file(&data).exists() {
            fs::copy(token_file(&data), token_file(to)).context("the admin's token cannot be copied")?;
        }
        Ok(())
    }

    /// Whether no data folder is backed up.
    fn has_no_data_folder(&self) -> bool {
        let Self { kafka, mongo, blobs, database, data_dir, .. } = self;
        data_dir.chosen().is_none()
            && kafka.kafka_brokers.is_some()
            && mongo.mongodb_uri.is_some()
            && blobs.blob_url.is_some()
            && database.database_url.is_some()
    }

    /// The parts on servers that this command does not back up.
    fn elsewhere(&self) -> Vec<&'static str> {
        let servers = [
            (self.mongo.mongodb_uri.is_some(), "documents (MongoDB)"),
            (self.blobs.blob_url.is_some(), "images (SIGHTLINE_BLOB_URL)"),
            (self.database.database_url.is_some(), "accounts (PostgreSQL)"),
            (self.media.media_url.is_some() || self.has_no_data_folder(), "files of the shop (SIGHTLINE_MEDIA_URL)"),
        ];
        servers.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect()
    }
}

/// Creates the folder that is renamed when the backup is complete.
fn create_partial(to: &Path) -> anyhow::Result<PathBuf> {
    let name = to.file_name().with_context(|| format!("{} is not the name of a folder", to.display()))?;
    let partial = to.with_file_name(format!("{}.partial", name.display()));
    match fs::create_dir(&partial) {
        Ok(()) => Ok(partial),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
            "{} exists: another backup is running, or one was interrupted; in that case delete it",
            partial.display()
        ),
        Err(error) => Err(error).with_context(|| format!("{} cannot be created", partial.display())),
    }
}
