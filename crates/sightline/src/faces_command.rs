//! `sightline faces`: the people whose faces a running server recognises.

mod enrol;
mod people;
mod requests;
mod tally;

use clap::{Args, Subcommand};
use settings::{Check, SettingErrors};

/// Enrols the faces of people from a folder
#[derive(Debug, Args)]
pub struct FacesCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Enrol a folder that has a folder for each person; the same command again enrols what is missing
    // Without it, the usage of an error names options that are set in the environment as if they were required.
    #[command(override_usage = "sightline faces enrol [OPTIONS] <FOLDER>")]
    Enrol(enrol::Enrol),
}

impl Check for FacesCommand {
    fn check(&self, errors: &mut SettingErrors) {
        let Action::Enrol(enrol) = &self.action;
        enrol.check(errors);
    }
}

impl FacesCommand {
    /// Runs the command and prints what it did.
    pub async fn run(self) -> anyhow::Result<()> {
        let Action::Enrol(enrol) = self.action;
        enrol.run().await
    }
}
