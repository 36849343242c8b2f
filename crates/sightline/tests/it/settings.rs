//! The list of known settings matches the settings of all programs.

use std::collections::BTreeSet;
use std::process::Command;

/// All variables that the `--help` of a program names.
fn named_by(program: &str, arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(program).args(arguments).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let help = String::from_utf8(output.stdout).unwrap();
    let names = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_list_of_known_settings_is_that_of_the_settings_there_are() {
    let mut there_are = BTreeSet::new();
    for arguments in [
        &["up"][..],
        &["push"],
        &["watch"],
        &["topics", "apply"],
        &["topics", "check"],
        &["dlq", "list"],
        &["dlq", "redrive"],
        &["migrate"],
        &["user", "add"],
        &["user", "list"],
        &["user", "set"],
        &["models", "list"],
        &["models", "pull"],
    ] {
        there_are.extend(named_by(env!("CARGO_BIN_EXE_sightline"), arguments));
    }
    for service in ["ingest-api", "detector-worker", "indexer", "alert-stream"] {
        there_are.extend(named_by(&crate::processes::program(service), &[]));
    }
    let known: BTreeSet<String> = platform::config::KEYS.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(known, there_are);
}
