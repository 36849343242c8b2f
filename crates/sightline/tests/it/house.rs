//! The arrows of the house point one way; services do not know one another; heavy parts live in one room each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What each room may know, of the house's own rooms.
const ARROWS: [(&str, &[&str]); 12] = [
    ("contracts", &[]),
    ("rules", &["contracts"]),
    ("bus", &["contracts"]),
    ("store", &["contracts"]),
    ("accounts", &["contracts", "store"]),
    ("platform", &["contracts"]),
    ("settings", &[]),
    ("ingest-api", &["accounts", "bus", "contracts", "platform", "rules", "store"]),
    ("detector-worker", &["bus", "contracts", "platform", "store"]),
    ("indexer", &["bus", "contracts", "platform", "rules", "store"]),
    ("alert-stream", &["accounts", "bus", "contracts", "platform", "store"]),
    (
        "sightline",
        &[
            "accounts",
            "alert-stream",
            "bus",
            "contracts",
            "detector-worker",
            "indexer",
            "ingest-api",
            "platform",
            "rules",
            "store",
        ],
    ),
];

/// What only some rooms may use from outside.
const RESERVED: [(&str, &[&str]); 11] = [
    ("rdkafka", &["bus"]),
    ("ort", &["detector-worker"]),
    ("image", &["detector-worker"]),
    ("turbojpeg", &["detector-worker"]),
    // The command's bench holds the indexer against bare inserts, which must not be the store's own.
    ("mongodb", &["store", "sightline"]),
    ("object_store", &["store"]),
    ("sqlx", &["store"]),
    ("redis", &["accounts"]),
    ("argon2", &["accounts"]),
    ("cel", &["rules"]),
    ("openidconnect", &["ingest-api"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |package: &Value| {
        let used = package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"] != "dev");
        used.map(|used| text(&used["name"])).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (text(&package["name"]), of(package))).collect()
}

#[test]
fn rooms_know_only_what_lies_below_them() {
    let found = dependencies();
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), rooms, "a room is missing here or there");
    for (room, allowed) in ARROWS {
        for used in found[room].iter().filter(|used| rooms.contains(used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{room} must not know {used}");
        }
    }
}

#[test]
fn heavy_parts_live_in_one_room_each() {
    for (room, used) in dependencies() {
        for (part, rooms) in RESERVED {
            assert!(!used.contains(part) || rooms.contains(&room.as_str()), "{room} must not use {part}");
        }
    }
}
