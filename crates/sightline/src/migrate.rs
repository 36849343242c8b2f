//! `sightline migrate`: brings accounts and documents to the schema of this version, before its services start.
//!
//! The services refuse to start on accounts of another version. Documents are also migrated by the first service that opens
//! them, and `up` migrates both at its start.

use std::path::Path;

use clap::Args;
use store::{DatabaseArgs, MongoArgs};

use crate::data_dir::DataDir;
use crate::out;
use crate::up::dependencies::{ACCOUNTS_FILE, DOCUMENTS_FILE, database, documents};

/// Migrate accounts and documents to this version: in PostgreSQL and MongoDB where their addresses are set, else in the data
/// folder
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    mongo: MongoArgs,

    #[command(flatten)]
    data_dir: DataDir,
}

impl Migrate {
    /// Runs the command and prints a line for accounts, one for the search for faces in PostgreSQL, and one for documents.
    pub async fn run(self) -> anyhow::Result<()> {
        let server = self.database.database_url.is_some() || self.mongo.mongodb_uri.is_some();
        let folder = if server { self.data_dir.path()? } else { self.data_dir.create()? };
        // Beside a server, a file that is missing in the data folder is not in use, and the folder may be read-only.
        let is_missing = |file: &str| server && !folder.join(file).exists();
        let accounts = if self.database.database_url.is_none() && is_missing(ACCOUNTS_FILE) {
            out::line("accounts: skipped, SIGHTLINE_DATABASE_URL is not set")?;
            None
        } else {
            let database = database(&self.database, &folder).await?;
            // Documents are not migrated beside accounts that cannot be.
            database.check_can_migrate().await?;
            Some(database)
        };
        let documents = if self.mongo.mongodb_uri.is_none() && is_missing(DOCUMENTS_FILE) {
            "skipped, SIGHTLINE_MONGODB_URI is not set".to_owned()
        } else {
            self.migrate_documents(&folder).await?
        };
        if let Some(database) = accounts {
            let (migrated, search) = (database.migrate().await?, database.face_search().await?);
            database.close().await;
            out::line(format_args!("accounts: {}: {migrated}", database.describe()))?;
            if self.database.database_url.is_some() {
                out::line(format_args!("faces: {search}"))?;
            }
        }
        out::line(format_args!("documents: {documents}"))
    }

    async fn migrate_documents(&self, folder: &Path) -> anyhow::Result<String> {
        let (documents, migrated) = documents(&self.mongo, folder).await?;
        Ok(format!("{}: {migrated}", documents.describe()))
    }
}
