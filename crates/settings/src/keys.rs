//! Names of settings.
//!
//! All services share one environment. A service therefore accepts the variables of other services and refuses
//! only unknown ones. Its own names come from its `clap` command. Those of the others are in `known.txt`, which
//! the test
//! `known_settings_are_those_of_all_programs` of the `sightline` crate writes from the commands of all programs.

use std::collections::BTreeSet;

use clap::{Arg, Command};

use crate::PREFIX;

/// Every setting of every program, old names included, one a line.
pub const KNOWN: &str = include_str!("known.txt");

/// Names that are not settings: those of the build and of the tests.
const FOREIGN: [&str; 3] = ["SIGHTLINE_TEST_", "SIGHTLINE_SAMPLES_DIR", "SIGHTLINE_CACHE"];
/// The images that docker compose runs. They are in the `.env` that the programs read too.
const IMAGES: [&str; 2] = ["SIGHTLINE_IMAGE", "SIGHTLINE_CAMERA_IMAGE"];

/// The variables of an argument: its own and, after that, its old names.
pub(crate) fn names_of(arg: &Arg) -> Option<Vec<String>> {
    let own = arg.get_env()?.to_str()?.to_owned();
    let old = arg.get_all_aliases().unwrap_or_default();
    let old = old.into_iter().map(|alias| format!("{PREFIX}{}", alias.replace('-', "_").to_ascii_uppercase()));
    // A flag may have another name than its variable, and an alias that is named after it.
    let old: Vec<String> = old.filter(|old| *old != own).collect();
    Some(std::iter::once(own).chain(old).collect())
}

/// Every variable that a command and its subcommands read, old names included.
pub fn keys_of(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(names_of).flatten();
    own.chain(command.get_subcommands().flat_map(keys_of)).collect()
}

/// Whether a setting of some program has this name.
pub(crate) fn is_known(name: &str) -> bool {
    KNOWN.lines().any(|known| known == name)
}

/// The error message for an unknown variable; `None` for a known one.
pub(crate) fn unknown(name: &str, own: &BTreeSet<String>) -> Option<String> {
    let known: BTreeSet<&str> = KNOWN.lines().chain(own.iter().map(String::as_str)).collect();
    let key = name.strip_suffix("_FILE").unwrap_or(name);
    if IMAGES.contains(&name)
        || known.contains(name)
        || known.contains(key)
        || FOREIGN.iter().any(|beginning| name.starts_with(beginning))
    {
        return None;
    }
    let hint = nearest(name, &known).map(|near| format!("; did you mean {near}")).unwrap_or_default();
    Some(format!("{name} is not a setting{hint}; `--help` lists them all"))
}

/// The known name with the fewest edits from `name`; none, if more than a third of it differs.
fn nearest<'k>(name: &str, known: &BTreeSet<&'k str>) -> Option<&'k str> {
    let own = name.strip_prefix(PREFIX).unwrap_or(name);
    let distance = |key: &str| {
        let key = key.strip_prefix(PREFIX).unwrap_or(key);
        let without_file = own.strip_suffix("_FILE").unwrap_or(own);
        strsim::osa_distance(own, key).min(strsim::osa_distance(without_file, key))
    };
    let nearest = known.iter().copied().min_by_key(|key| distance(key))?;
    (distance(nearest) <= own.len() / 3).then_some(nearest)
}
