//! `sightline migrate`: the accounts' tables, made what this version needs. `up` does so at its start; the services refuse to
//! start on others.

use clap::Args;
use platform::config::DatabaseArgs;

use crate::data_dir::DataDir;
use crate::out;
use crate::up::backends::database;

/// Makes the accounts' tables what this version needs: in PostgreSQL where its address is set, else in the data folder
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    data_dir: DataDir,
}

impl Migrate {
    /// Does it and prints what came of it.
    pub async fn run(self) -> anyhow::Result<()> {
        let folder = match &self.database.database_url {
            Some(_) => self.data_dir.path()?,
            None => self.data_dir.create()?,
        };
        let database =
            database(self.database.database_url.as_ref(), self.database.database_connections, &folder).await?;
        let applied = database.migrate().await?;
        database.close().await;
        let told = match applied {
            0 => "nothing to do".to_owned(),
            1 => "1 migration applied".to_owned(),
            many => format!("{many} migrations applied"),
        };
        out::line(format_args!("{}: {told}", database.describe()))
    }
}
