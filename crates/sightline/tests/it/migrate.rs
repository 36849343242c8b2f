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

/// The error of a command that refuses the data.
fn refused(data: &Path, command: &str) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sightline"));
    program.args([command, "--data-dir"]).arg(data).env_clear();
    if command == "up" {
        program
            .args(["--admin-addr", "off", "--grpc-addr", "off", "--http-addr"])
            .arg(format!("127.0.0.1:{}", free_port()));
        program.env("SIGHTLINE_TOPICS_FILE", old_data::old("topics.yaml"));
    }
    let output = program.output().unwrap();
    assert!(!output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stdout));
    let printed = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "not one error line: {printed}");
    lines[0].to_owned()
}

/// A data folder whose accounts are of a later version and whose documents are old, and one where it is the other way round.
fn half_later() -> [(tempfile::TempDir, &'static str); 2] {
    ["accounts", "documents"].map(|later| {
        let (folder, newest) = (old_data::unpacked_folder(), tempfile::tempdir().unwrap());
        migrate(newest.path(), &[]);
        let name = format!("{later}.sqlite");
        let file = folder.path().join("data").join(&name);
        for companion in ["-wal", "-shm"] {
            std::fs::remove_file(file.with_file_name(format!("{name}{companion}"))).unwrap();
        }
        std::fs::copy(newest.path().join(&name), &file).unwrap();
        let changed = match later {
            "accounts" => {
                "INSERT INTO sightline_schema SELECT version + 1, 'later', 'x', 0, version + 1 FROM sightline_schema
                ORDER BY version DESC LIMIT 1"
            }
            _ => "PRAGMA user_version = 99; UPDATE compatible_from SET version = 99",
        };
        rusqlite::Connection::open(&file).unwrap().execute_batch(changed).unwrap();
        (folder, later)
    })
}

#[test]
fn data_of_a_later_version_is_refused_before_anything_is_migrated() {
    for (folder, later) in half_later() {
        let data = folder.path().join("data");
        let before = old_data::schema_versions(&data);
        for command in ["migrate", "up"] {
            let line = refused(&data, command);
            assert!(
                line.contains(later) && line.contains("schema version") && line.contains("this program knows"),
                "{line}"
            );
            assert_eq!(old_data::schema_versions(&data), before, "{command} has migrated something");
        }
    }
}

#[test]
fn a_log_of_a_later_version_is_refused_with_both_versions() {
    let folder = old_data::unpacked_folder();
    let data = folder.path().join("data");
    let segment = data.join("log/sightline.frames.topic/000000000001.db");
    rusqlite::Connection::open(segment).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let line = refused(&data, "up");
    assert!(line.contains("has version 2, this program knows 1"), "{line}");
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
