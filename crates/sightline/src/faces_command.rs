//! `sightline faces`: the people whose faces a running server recognises.

mod enrol;
mod model;
mod people;
mod requests;
mod tally;

use clap::{Args, Subcommand};
use settings::{Check, SettingErrors};

/// Enrols the faces of people from a folder, and changes the model that compares them
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
    /// Show which model compares faces and how far its change is, or change it with `use NAME`
    Model(model::ModelCommand),
}

impl Check for FacesCommand {
    fn check(&self, errors: &mut SettingErrors) {
        match &self.action {
            Action::Enrol(enrol) => enrol.check(errors),
            Action::Model(_) => {}
        }
    }
}

impl FacesCommand {
    /// Runs the command and prints what it did.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Enrol(enrol) => enrol.run().await,
            Action::Model(model) => model.run().await,
        }
    }
}
