use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::{mongo, relational, sqlite};

/// The statements of a script, each on one line, without comments.
fn statements(sql: &str) -> Vec<String> {
    let code = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let statements = code.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| !statement.is_empty()).collect()
}

/// What a script does. One without statements is carried out by the program, and changes data.
fn effect_of(sql: &str) -> Effect {
    let statements = statements(sql);
    let mut added: BTreeSet<String> = BTreeSet::new();
    for statement in &statements {
        let words: Vec<&str> = statement.split(' ').collect();
        let only_adds = match words[..] {
            ["CREATE", "TABLE" | "EXTENSION", ..] | ["CREATE", "INDEX", ..] | ["CREATE", "VIRTUAL", "TABLE", ..] => {
                true
            }
            ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] => {
                let optional = !statement.contains("NOT NULL") || statement.contains("DEFAULT");
                optional && !statement.contains("UNIQUE") && statement.matches("ADD COLUMN").count() == 1
            }
            // Of a table or a column that this script added.
            ["INSERT", "INTO", table, ..] => added.contains(table),
            ["UPDATE", table, "SET", column, "=", ..] => {
                let assigned = statement.split(" WHERE ").next().unwrap_or_default();
                added.contains(&format!("{table}.{column}")) && !assigned.contains(',')
            }
            _ => false,
        };
        if !only_adds {
            return Effect::Changes;
        }
        match words[..] {
            ["CREATE", "TABLE", table, ..] => added.insert(table.to_owned()),
            ["ALTER", "TABLE", table, "ADD", "COLUMN", column, ..] => added.insert(format!("{table}.{column}")),
            _ => false,
        };
    }
    if statements.is_empty() { Effect::Changes } else { Effect::Adds }
}

/// The scripts of a folder of migrations, in their order.
fn scripts(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn a_step_that_does_more_than_add_is_told_from_others() {
    for adds in [
        "CREATE TABLE t (a TEXT NOT NULL); CREATE INDEX i ON t (a); INSERT INTO t (a) VALUES (1)",
        "-- DROP TABLE t\nALTER TABLE t ADD COLUMN a TEXT; UPDATE t SET a = b WHERE c",
        "ALTER TABLE t ADD COLUMN a TEXT NOT NULL DEFAULT ''",
        "CREATE VIRTUAL TABLE t USING fts5 (a)",
    ] {
        assert_eq!(effect_of(adds), Effect::Adds, "{adds}");
    }
    for changes in [
        "",
        "-- The program does it.",
        "DROP TABLE t",
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t RENAME COLUMN a TO b",
        "ALTER TABLE t ADD COLUMN a TEXT NOT NULL",
        "ALTER TABLE t ADD COLUMN a TEXT; UPDATE t SET b = a",
        "ALTER TABLE t ADD COLUMN a TEXT; UPDATE t SET a = 1, b = 2",
        "CREATE UNIQUE INDEX i ON t (a)",
        "DELETE FROM t",
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE a (b TEXT); DROP TABLE c",
    ] {
        assert_eq!(effect_of(changes), Effect::Changes, "{changes}");
    }
}

/// The first step creates the schema.
#[test]
fn each_step_says_whether_it_only_adds() {
    let sqlite_documents = sqlite::effects();
    for (folder, declared) in [
        ("postgres", relational::effects()),
        ("sqlite", relational::effects()),
        ("documents", sqlite_documents.clone()),
    ] {
        let found: Vec<Effect> = scripts(folder).iter().map(|sql| effect_of(sql)).collect();
        assert_eq!(found, declared, "of the migrations in {folder}");
    }
    assert_eq!(mongo::effects(), sqlite_documents, "documents in MongoDB have the versions of those in SQLite");
    // Steps in MongoDB are code. This is a list of what they must not call, to notice a step that does more than create indexes.
    let code = include_str!("../mongo/migrations.rs");
    for call in ["drop", "delete_", "update_many", "replace_", "rename", "$unset", "find_one_and"] {
        let called = code.lines().any(|line| line.contains(&format!(".{call}")) || line.contains(&format!("\"{call}")));
        assert!(!called || mongo::effects().contains(&Effect::Changes), "a step calls {call}");
    }
}

/// The rows of the table in the page: what the data is, its version, and whether it only adds.
fn rows(page: &str) -> Vec<(String, i64, Effect)> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")).map(|row| row.split(" | ").collect::<Vec<_>>());
    let row = |cells: Vec<&str>| {
        let effect = match cells.last()?.trim_end_matches(" |") {
            "yes" => Effect::Adds,
            "no" => Effect::Changes,
            _ => return None,
        };
        Some((cells[0].to_owned(), cells.get(1)?.parse().ok()?, effect))
    };
    cells.filter_map(row).collect()
}

#[test]
fn the_page_lists_each_step_and_whether_earlier_programs_can_use_the_data() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/UPGRADE.md")).unwrap();
    let steps = |data: &str, effects: Vec<Effect>| {
        let steps = (1..).zip(effects).skip(1).map(|(version, effect)| (data.to_owned(), version, effect));
        steps.collect::<Vec<_>>()
    };
    let expected = [steps("accounts", relational::effects()), steps("documents", sqlite::effects())].concat();
    assert_eq!(rows(&page), expected);
}
