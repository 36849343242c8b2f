//! Which crate may depend on which. Services do not depend on one another, and a heavy dependency belongs to one crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The crates of the workspace that each crate may depend on.
const ALLOWED: [(&str, &[&str]); 30] = [
    ("contracts", &["settings"]),
    ("gallery", &["contracts"]),
    ("rules", &["contracts", "settings"]),
    ("bus", &["contracts", "settings"]),
    // It implements the seam of the gallery, which itself knows no database.
    ("store", &["contracts", "gallery", "settings"]),
    ("accounts", &["contracts", "settings", "store"]),
    // It maps its errors to responses as the errors of accounts are mapped.
    ("openid", &["accounts", "api-kit", "platform", "settings"]),
    ("platform", &["contracts", "settings"]),
    // What is to be done with a recording next; no log, and no call of a provider.
    ("media", &["contracts", "store"]),
    ("models", &["contracts", "platform", "settings"]),
    ("onnx", &["platform"]),
    // The rules of the shop; no HTTP and no gRPC.
    ("shop", &["accounts", "contracts", "media", "settings", "sound", "store"]),
    ("settings", &[]),
    // Bytes in, facts and samples out.
    ("sound", &[]),
    ("testing", &["bus", "contracts"]),
    ("text", &["models", "onnx", "platform"]),
    // No bus, no store, and no service: each service decodes images and runs models by itself.
    ("vision", &["contracts", "models", "onnx", "platform", "settings"]),
    ("consumer-kit", &["bus", "contracts", "platform"]),
    ("api-kit", &["accounts", "bus", "contracts", "platform", "settings", "store"]),
    (
        "ingest-api",
        &[
            "accounts",
            "api-kit",
            "bus",
            "consumer-kit",
            "contracts",
            "openid",
            "platform",
            "rules",
            "settings",
            "store",
        ],
    ),
    (
        "audio-worker",
        &[
            "api-kit",
            "bus",
            "consumer-kit",
            "contracts",
            "media",
            "models",
            "onnx",
            "platform",
            "settings",
            "sound",
            "store",
            "text",
        ],
    ),
    ("detector-worker", &["bus", "consumer-kit", "contracts", "gallery", "platform", "settings", "store", "vision"]),
    ("camera", &["contracts", "platform", "settings"]),
    ("indexer", &["bus", "consumer-kit", "contracts", "platform", "rules", "settings", "store"]),
    ("alert-stream", &["accounts", "api-kit", "bus", "consumer-kit", "contracts", "platform", "settings", "store"]),
    (
        "faces",
        &[
            "accounts",
            "api-kit",
            "bus",
            "consumer-kit",
            "contracts",
            "gallery",
            "platform",
            "settings",
            "store",
            "vision",
        ],
    ),
    (
        "shop-api",
        &[
            "accounts",
            "api-kit",
            "bus",
            "contracts",
            "media",
            "models",
            "onnx",
            "openid",
            "platform",
            "settings",
            "shop",
            "store",
            "text",
        ],
    ),
    (
        "sightline",
        &[
            "accounts",
            "alert-stream",
            "api-kit",
            "audio-worker",
            "bus",
            "contracts",
            "detector-worker",
            "faces",
            "gallery",
            "indexer",
            "ingest-api",
            "media",
            "models",
            "onnx",
            "openid",
            "platform",
            "rules",
            "settings",
            "shop",
            "shop-api",
            "store",
            "text",
            "vision",
        ],
    ),
    ("service-template", &["accounts", "api-kit", "bus", "consumer-kit", "contracts", "platform", "settings"]),
    (
        "bench",
        &[
            "accounts",
            "alert-stream",
            "audio-worker",
            "bus",
            "contracts",
            "detector-worker",
            "gallery",
            "indexer",
            "platform",
            "rules",
            "settings",
            "store",
            "vision",
        ],
    ),
];

/// Dependencies from outside the workspace that only these crates may have.
const RESERVED: [(&str, &[&str]); 24] = [
    ("rdkafka", &["bus"]),
    ("ort", &["onnx"]),
    ("image", &["vision"]),
    ("turbojpeg", &["vision", "camera"]),
    // The command must run without it.
    ("ffmpeg-next", &["camera"]),
    // The bench compares the indexer with a bare loop of inserts, which must not be the store's own.
    ("mongodb", &["store", "bench"]),
    ("object_store", &["store"]),
    ("pgvector", &["store"]),
    ("sqlx", &["store"]),
    ("redis", &["accounts"]),
    ("argon2", &["accounts"]),
    ("cel", &["rules"]),
    ("openidconnect", &["openid"]),
    ("symphonia", &["sound"]),
    ("flacenc", &["sound"]),
    ("opentelemetry", &["platform"]),
    ("opentelemetry_sdk", &["platform"]),
    // The collector of the tests decodes what platform encodes.
    ("opentelemetry-proto", &["platform", "testing"]),
    ("prost", &["platform", "shop-api", "testing"]),
    ("tonic", &["shop-api"]),
    ("tonic-health", &["shop-api"]),
    ("tonic-reflection", &["shop-api"]),
    ("tonic-web", &["shop-api"]),
    // The bench compares the engine with a bare loop, which must not be the engine's own.
    ("whisper-rs", &["audio-worker", "bench"]),
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
    let names = |package: &Value| {
        let used = package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"] != "dev");
        used.map(|used| text(&used["name"])).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (text(&package["name"]), names(package))).collect()
}

#[test]
fn crates_depend_only_on_those_below_them() {
    let found = dependencies();
    let crates: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), crates, "ALLOWED must list every crate");
    for (name, allowed) in ALLOWED {
        for used in found[name].iter().filter(|used| crates.contains(used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{name} must not depend on {used}");
        }
    }
}

#[test]
fn a_heavy_dependency_belongs_to_one_crate() {
    for (name, used) in dependencies() {
        for (dependency, crates) in RESERVED {
            assert!(
                !used.contains(dependency) || crates.contains(&name.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}
