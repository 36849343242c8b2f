//! `sightline migrate`: what it does to accounts and documents, and the lines that it prints.

use std::path::Path;
use std::process::{Command, Output};

use crate::old_data;
use crate::processes::free_port;

/// Runs the command with only these settings.
fn run(data: &Path, settings: &[(&str, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    command.args(["migrate", "--data-dir"]).arg(data).env_clear().envs(settings.iter().cloned());
    command.output().unwrap()
}

/// The lines that it prints about accounts and about documents.
pub fn migrate(data: &Path, settings: &[(&str, String)]) -> [String; 2] {
    let output = run(data, settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> = printed.lines().map(str::to_owned).collect();
    lines.try_into().unwrap_or_else(|_| panic!("two lines are expected:\n{printed}"))
}

#[test]
fn migrate_creates_what_is_missing_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let [accounts, documents] = migrate(&data, &[]);
    assert!(accounts.starts_with("accounts: ") && accounts.ends_with(": created with schema version 2"), "{accounts}");
    assert!(
        documents.starts_with("documents: ") && documents.ends_with(": created with schema version 2"),
        "{documents}"
    );
    for line in migrate(&data, &[]) {
        assert!(line.ends_with(": schema version 2, up to date"), "{line}");
    }
}

#[test]
fn migrate_names_the_versions_before_and_after() {
    let folder = old_data::unpacked_folder();
    let data = folder.path().join("data");
    for line in migrate(&data, &[]) {
        assert!(line.ends_with(": migrated from schema version 1 to 2"), "{line}");
    }
    for line in migrate(&data, &[]) {
        assert!(line.ends_with(": schema version 2, up to date"), "{line}");
    }
}

#[test]
fn migrate_with_a_server_creates_no_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let nobody = format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", free_port());
    let output = run(&data, &[("SIGHTLINE_MONGODB_URI", nobody)]);
    assert!(!output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "accounts: skipped, SIGHTLINE_DATABASE_URL is not set\n");
    assert!(!data.exists());
}
