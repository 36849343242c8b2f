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

/// The schema versions of accounts and of documents in this program: their numbers of migrations.
pub fn newest_versions() -> [usize; 2] {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/migrations");
    ["sqlite", "documents"].map(|folder| migrations.join(folder).read_dir().unwrap().count())
}

#[test]
fn migrate_creates_what_is_missing_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let lines = migrate(&data, &[]);
    for ((line, kind), newest) in lines.iter().zip(["accounts: ", "documents: "]).zip(newest_versions()) {
        assert!(line.starts_with(kind) && line.ends_with(&format!(": created with schema version {newest}")), "{line}");
    }
    assert_up_to_date(&data);
}

#[test]
fn migrate_names_the_versions_before_and_after() {
    let folder = old_data::unpacked_folder();
    let data = folder.path().join("data");
    for (line, newest) in migrate(&data, &[]).iter().zip(newest_versions()) {
        assert!(line.ends_with(&format!(": migrated from schema version 1 to {newest}")), "{line}");
    }
    assert_up_to_date(&data);
}

fn assert_up_to_date(data: &Path) {
    for (line, newest) in migrate(data, &[]).iter().zip(newest_versions()) {
        assert!(line.ends_with(&format!(": schema version {newest}, up to date")), "{line}");
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
