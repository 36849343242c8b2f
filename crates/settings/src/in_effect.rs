//! The settings in effect, for people: `sightline config print`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::SettingErrors;
use crate::keys::names_of;
use crate::sources::{Source, Sources, chosen, is_secret};

/// A setting in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InEffect {
    /// Its variable.
    pub key: String,
    /// Its value as text, `***` for a secret; `None` where it is not set and has no default.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
}

/// The settings of a command and of its subcommands, sorted by name. Flags apply to the subcommand in use.
///
/// # Errors
/// The errors that make the settings unusable.
pub fn in_effect(command: &Command) -> Result<Vec<InEffect>, SettingErrors> {
    let mut errors = SettingErrors::default();
    let sources = Sources::of_this_process(&mut errors);
    let arguments: Vec<OsString> = std::env::args_os().collect();
    list(command, &sources, &arguments, errors)
}

fn list(
    command: &Command,
    sources: &Sources,
    arguments: &[OsString],
    mut errors: SettingErrors,
) -> Result<Vec<InEffect>, SettingErrors> {
    let matches = sources.matches(command.clone(), arguments, &mut errors);
    let Some(matches) = errors.collect(matches).filter(|_| errors.is_empty()) else { return Err(errors) };
    let in_use = chosen(command, arguments);
    let mut found = BTreeMap::new();
    for arg in in_use.get_arguments() {
        add(&mut found, arg, sources, Some(innermost(&matches)))?;
    }
    add_subcommands(&mut found, command, sources)?;
    Ok(found.into_values().collect())
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, matches)| innermost(matches))
}

type Found = BTreeMap<String, InEffect>;

fn add_subcommands(found: &mut Found, command: &Command, sources: &Sources) -> Result<(), SettingErrors> {
    for arg in command.get_arguments() {
        add(found, arg, sources, None)?;
    }
    command.get_subcommands().try_for_each(|subcommand| add_subcommands(found, subcommand, sources))
}

/// Adds the setting of an argument, unless it was added before or the argument is not a setting.
fn add(found: &mut Found, arg: &Arg, sources: &Sources, matches: Option<&ArgMatches>) -> Result<(), SettingErrors> {
    let Some(names) = names_of(arg).filter(|names| !found.contains_key(&names[0])) else { return Ok(()) };
    let mut errors = SettingErrors::default();
    let given = sources.given(&names).map_err(anyhow::Error::msg);
    let Some(given) = errors.collect(given) else { return Err(errors) };
    let (value, source) = match (matches.and_then(|matches| flag(arg, matches)), given) {
        (Some(value), _) => (Some(value), Source::Flag),
        (None, Some(given)) => (Some(given.value), given.source),
        (None, None) => (default(arg), Source::Default),
    };
    let value = value.map(|value| if is_secret(arg) { "***".to_owned() } else { without_password(value) });
    found.insert(names[0].clone(), InEffect { key: names[0].clone(), value, source });
    Ok(())
}

/// The value on the command line.
fn flag(arg: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = arg.get_id().as_str();
    matches.try_contains_id(id).ok().filter(|there| *there)?;
    let values = matches.get_raw(id).filter(|_| matches.value_source(id) == Some(ValueSource::CommandLine))?;
    Some(values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","))
}

fn default(arg: &Arg) -> Option<String> {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if values.is_empty() { None } else { Some(values.join(",")) }
}

/// Masks the password of a URL in a setting that is not a secret.
fn without_password(value: String) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:***@{host}{}", &rest[authority.len()..]),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::Secret;

    #[derive(Debug, Parser)]
    enum Program {
        Run {
            #[arg(long, env = "SIGHTLINE_ADMIN_TOKEN")]
            admin_token: Option<Secret>,
            #[arg(long, env = "SIGHTLINE_DETECTORS", default_value = "face", value_delimiter = ',')]
            detectors: Vec<String>,
            #[arg(long, env = "SIGHTLINE_LOG", default_value = "info")]
            log: String,
            #[arg(long, env = "SIGHTLINE_HTTP_ADDR", default_value = "127.0.0.1:8080")]
            http_addr: String,
            #[arg(long, env = "SIGHTLINE_BLOB_URL")]
            blob_url: Option<String>,
        },
        Push {
            #[arg(long, env = "SIGHTLINE_SERVER", default_value = "http://127.0.0.1:8080")]
            server: String,
        },
    }

    #[test]
    fn every_setting_is_listed_with_its_source_and_without_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hidden\n").unwrap();
        let path = file.path().to_str().unwrap();
        let environment = [
            ("SIGHTLINE_ADMIN_TOKEN_FILE", path),
            ("SIGHTLINE_LOG", "debug"),
            ("SIGHTLINE_SERVER", "https://ann:hidden@host:1/x"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let sources = Sources::new(
            environment.into_iter().map(owned),
            [("SIGHTLINE_HTTP_ADDR", "[::]:80")].into_iter().map(owned),
        );
        let arguments = ["program", "run", "--detectors", "face,vehicle"].map(OsString::from);
        let found = list(&Program::command(), &sources, &arguments, SettingErrors::default()).unwrap();
        let lines: Vec<String> = found
            .iter()
            .map(|setting| format!("{} {} ({})", setting.key, setting.value.as_deref().unwrap_or("-"), setting.source))
            .collect();
        assert_eq!(
            lines,
            [
                &format!("SIGHTLINE_ADMIN_TOKEN *** (SIGHTLINE_ADMIN_TOKEN_FILE {path})"),
                "SIGHTLINE_BLOB_URL - (default)",
                "SIGHTLINE_DETECTORS face,vehicle (flag)",
                "SIGHTLINE_HTTP_ADDR [::]:80 (.env SIGHTLINE_HTTP_ADDR)",
                "SIGHTLINE_LOG debug (environment SIGHTLINE_LOG)",
                "SIGHTLINE_SERVER https://ann:***@host:1/x (environment SIGHTLINE_SERVER)",
            ]
        );
    }
}
