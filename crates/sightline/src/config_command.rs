//! `sightline config`: checks or prints the settings of `up`, from flags, the environment, files and `.env`.

use clap::{CommandFactory, Subcommand};
use platform::error_line;
use settings::{Check, InEffect, SettingErrors};

use crate::out;
use crate::up::Up;

/// Checks or prints settings
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List everything that is wrong with the settings of `up`; the exit status is 2 if something is. It reads the files that the
    /// settings name, but does not check permissions of folders, ports in use, model files and servers: `up` does
    Check(Box<Up>),
    /// Print each setting in effect and where it comes from; secrets are masked
    Print(Box<Up>),
    /// Print the names of all settings of all programs, old names included
    #[command(hide = true)]
    Keys,
}

/// Runs the checks that `up` runs at its start.
impl Check for ConfigCommand {
    fn check(&self, errors: &mut SettingErrors) {
        match self {
            Self::Check(up) => up.check(errors),
            Self::Print(_) | Self::Keys => {}
        }
    }
}

impl ConfigCommand {
    /// Runs the command and prints its result. `P` is the command-line parser of this program.
    pub fn run<P: CommandFactory>(&self) -> anyhow::Result<()> {
        match self {
            Self::Check(up) => {
                up.warnings().iter().for_each(|warning| error_line(format_args!("warning: {warning}")));
                out::line(format_args!("the settings are valid"))
            }
            Self::Print(_) => {
                let settings = settings::in_effect(&P::command());
                let settings = settings.map_err(|errors| anyhow::anyhow!("{}", joined(&errors)))?;
                print(&settings)
            }
            Self::Keys => settings::keys_of(&P::command()).iter().try_for_each(|key| out::line(format_args!("{key}"))),
        }
    }
}

fn joined(errors: &SettingErrors) -> String {
    errors.iter().collect::<Vec<_>>().join("\n")
}

/// One line each: name, value, source. `-` stands for a setting without a value.
fn print(settings: &[InEffect]) -> anyhow::Result<()> {
    let name_width = settings.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
    settings.iter().try_for_each(|InEffect { key, value, source }| {
        let value = value.as_deref().unwrap_or("-");
        out::line(format_args!("{key:name_width$}  {value}  ({source})"))
    })
}
