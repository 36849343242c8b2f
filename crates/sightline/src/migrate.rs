//! `sightline migrate`: creates or upgrades the tables of accounts for this version. `up` does so at its start. The services
//! refuse to start on tables of another version.

use clap::Args;
use store::DatabaseArgs;

use crate::data_dir::DataDir;
use crate::out;
use crate::up::dependencies::database;

/// Creates or upgrades the tables of accounts for this version: in PostgreSQL if its address is set, else in the data folder
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    data_dir: DataDir,
}

impl Migrate {
    /// Runs the command and prints the result.
    pub async fn run(self) -> anyhow::Result<()> {
        let folder = match &self.database.database_url {
            Some(_) => self.data_dir.path()?,
            None => self.data_dir.create()?,
        };
        let database =
            database(self.database.database_url.as_ref(), self.database.database_connections, &folder).await?;
        let applied = database.migrate().await?;
        database.close().await;
        let done = match applied {
            0 => "nothing to do".to_owned(),
            _ => format!("applied {}", out::counted(applied, "migration", "migrations")),
        };
        out::line(format_args!("{}: {done}", database.describe()))
    }
}
