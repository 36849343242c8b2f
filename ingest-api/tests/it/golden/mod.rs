//! A golden file for every operation: its request and its response.
//!
//! Ids, tokens, keys and present times are replaced by placeholders. `UPDATE_GOLDEN=1 cargo test --release -p ingest-api golden`
//! rewrites the files after an intended change.

mod exchange;
mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use testing::operations;

use exchange::Exchange;

/// Operations without JSON or a form in request and response: they have no golden file.
const WITHOUT_BODY: [&str; 12] = [
    "alerts_cookie",
    "begin_oidc_login",
    "delete_api_token",
    "delete_rule",
    "delete_stream",
    "delete_user",
    "end_session",
    "end_sessions",
    "get_frame_image",
    "older_stream_alerts",
    "stream_alerts",
    "unlink_identities",
];
/// Files of error responses that many operations share.
const ERRORS: [&str; 2] = ["oauth_error", "problem"];

#[tokio::test]
async fn every_operation_has_a_golden_file() {
    let (document, exchanges) = scenario::run().await;
    let mut with_body = BTreeSet::new();
    let mut without_body = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        if !has_body(operation) {
            without_body.insert(id);
            continue;
        }
        with_body.insert(id);
        let exchange = exchanges.get(id).unwrap_or_else(|| panic!("{id} has no golden file: add it to the scenario"));
        assert_eq!((exchange.method.as_str(), exchange.path.as_str()), (method, path), "{id}");
    }
    assert_eq!(without_body, WITHOUT_BODY.into());
    for (name, exchange) in &exchanges {
        let operation = name.split('.').next().unwrap();
        assert!(with_body.contains(operation) || ERRORS.contains(&operation), "{name} is not an operation with a body");
        assert_golden(name, &exchange.text);
    }
    let expected: BTreeSet<PathBuf> = exchanges.keys().map(|name| golden_file(name)).collect();
    let files = golden_folder().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(expected, files, "a file without an exchange is out of date");
}

/// Whether an operation takes JSON or a form, or responds with JSON to success.
fn has_body(operation: &Value) -> bool {
    let is_text = |content: &Value| {
        content["application/json"].is_object() || content["application/x-www-form-urlencoded"].is_object()
    };
    let responses = operation["responses"].as_object().unwrap().iter();
    let mut successes = responses.filter(|(status, _)| status.starts_with('2')).map(|(_, response)| response);
    is_text(&operation["requestBody"]["content"]) || successes.any(|response| is_text(&response["content"]))
}

/// Compares a golden file; with `UPDATE_GOLDEN` set, writes it.
fn assert_golden(name: &str, actual: &str) {
    let path = golden_file(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden_folder()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, actual, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

fn golden_file(name: &str) -> PathBuf {
    golden_folder().join(format!("{name}.txt"))
}

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Exchanges by the name of their file: the id of the operation, and for a second one a suffix after `.`.
type Exchanges = BTreeMap<String, Exchange>;
