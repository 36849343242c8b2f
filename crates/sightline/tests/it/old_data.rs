//! This version opens the data of an older one: its data folder, and the content of its topics.
//!
//! `tests/data/schema-1` contains both, from a version with schema 1 of the documents, which was
//! killed with work pending; `README.md` there says how they were created. Every later schema
//! change must keep these tests.

mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::{Bus, EmbeddedBus};
use contracts::{Headers, Message, TopicRole, Topics};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::migrate::{migrate, newest_versions};
use crate::processes::TestServer;

/// Time limit for the pending work.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Lists whose items have ids.
const LISTS: [&str; 4] =
    ["/v1/frames?limit=100", "/v1/detections?limit=100", "/v1/alerts/history?limit=100", "/v1/rules"];

pub fn old(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/schema-1").join(name)
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(old(name)).unwrap()).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn unpacked(name: &str) -> Vec<u8> {
    let output = Command::new("gzip").arg("-dc").arg(old(name)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Settings with which old data does not expire.
fn settings() -> Vec<(&'static str, String)> {
    vec![
        ("SIGHTLINE_TOPICS_FILE", old("topics.yaml").to_str().unwrap().to_owned()),
        ("SIGHTLINE_RETENTION", "36500d".to_owned()),
        ("SIGHTLINE_PICTURE_RETENTION", "36500d".to_owned()),
        ("SIGHTLINE_RATE_LIMIT_RPS", "1000".to_owned()),
    ]
}

struct Client {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    fn new(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned(), http: reqwest::Client::new() }
    }

    async fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let response = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return None;
        }
        Some(response.error_for_status().unwrap().bytes().await.unwrap().to_vec())
    }

    /// Answer of `/v1/token`.
    async fn token(&self, form: &[(&str, &str)]) -> Value {
        let response = self.http.post(format!("{}/v1/token", self.url)).form(form).send().await.unwrap();
        response.error_for_status().unwrap().json().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let bytes = self.bytes(path).await.unwrap_or_else(|| panic!("{path} is not found"));
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The frame, once it has a result.
    async fn processed(&self, id: &str) -> Value {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(bytes) = self.bytes(&format!("/v1/frames/{id}")).await {
                let frame: Value = serde_json::from_slice(&bytes).unwrap();
                if frame["results"].as_array().is_some_and(|results| !results.is_empty()) {
                    return frame;
                }
            }
            assert!(Instant::now() < deadline, "frame {id} was acknowledged and has no result");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Names of the rules that raised an alert about a frame, once there are `count`.
    async fn rules_raised_about(&self, frame: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let alerts = self.json("/v1/alerts/history?limit=200").await;
            let items = alerts["items"].as_array().unwrap();
            let about = items.iter().filter(|alert| alert["frame_id"] == frame);
            let rules: Vec<String> = about.map(|alert| alert["rule"].as_str().unwrap().to_owned()).collect();
            if rules.len() >= count {
                return rules;
            }
            assert!(Instant::now() < deadline, "frame {frame} has only the alerts {rules:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The count of vehicles by make on the older clients' route is the old program's, plus the vehicles that were pending.
async fn assert_counts_kept(client: &Client, expected: &Value) {
    let mut counts: BTreeMap<String, u64> = serde_json::from_value(expected["answers"]["/stats"].clone()).unwrap();
    for id in texts(&expected["pending"]) {
        for detection in client.processed(&id).await["detections"].as_array().unwrap() {
            if let Some(make) = detection["make"].as_str() {
                *counts.entry(make.to_owned()).or_default() += 1;
            }
        }
    }
    assert_eq!(client.json("/stats").await, json!(counts));
}

/// The refresh token can be exchanged, and so can the next one.
async fn assert_session_continues(client: &Client, refresh_token: &str) {
    let mut token = refresh_token.to_owned();
    for _ in 0..2 {
        let response = client.token(&[("grant_type", "refresh_token"), ("refresh_token", &token)]).await;
        let next = response["refresh_token"].as_str().unwrap();
        assert_ne!(next, token);
        let session = Client::new(&client.url, response["access_token"].as_str().unwrap());
        assert_eq!(session.json("/v1/users/me").await["email"], "ada@example.com");
        // Only a session with every scope may read this.
        assert!(session.json("/v1/api-tokens").await["items"].is_array());
        token = next.to_owned();
    }
}

/// The responses of this version contain all items of the old program's responses.
async fn assert_same_responses(client: &Client, responses: &Value) {
    for path in LISTS {
        let now = client.json(path).await;
        let now = now["items"].as_array().unwrap();
        for item in responses[path]["items"].as_array().unwrap() {
            assert!(now.iter().any(|now| has_fields_of(now, item)), "{path} has lost or changed {item}");
        }
    }
    for detection in responses[LISTS[1]]["items"].as_array().unwrap() {
        let path = format!("/v1/detections/{}", detection["id"].as_str().unwrap());
        assert_eq!(client.json(&path).await, *detection);
    }
    let older = client.json("/detections?limit=1000").await;
    for vehicle in responses["/detections"].as_array().unwrap() {
        assert!(older.as_array().unwrap().contains(vehicle), "the older route has lost or changed {vehicle}");
    }
}

/// Whether an object has all fields of an older one, with the same values. Versions only add fields.
fn has_fields_of(now: &Value, before: &Value) -> bool {
    before.as_object().unwrap().iter().all(|(name, value)| now.get(name) == Some(value))
}

/// Every acknowledged frame has a result; one with a face or a suspicious vehicle has its alert, once.
async fn assert_pending_finished(client: &Client, pending: &[String]) {
    for id in pending {
        let frame = client.processed(id).await;
        assert_eq!(frame["results"].as_array().unwrap().len(), 1, "{frame}");
        assert_eq!(frame["results"][0]["status"], "ok", "{frame}");
        let found = frame["detections"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{frame}");
        let rule = if found[0]["label"] == "face" { "face-seen" } else { "suspicious-vehicle" };
        let rules = client.rules_raised_about(id, 2).await;
        assert_eq!(rules.iter().filter(|raised| *raised == rule).count(), 1, "{id}: {rules:?}");
        assert_eq!(rules.iter().collect::<BTreeSet<_>>().len(), rules.len(), "{id}: {rules:?}");
    }
}

/// A folder with the old data folder as `data`.
pub fn unpacked_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let unpack = Command::new("tar").arg("-xzf").arg(old("folder.tar.gz")).arg("-C").arg(folder.path()).status();
    assert!(unpack.unwrap().success());
    folder
}

/// Moves the end of all sessions to the year 2100: they last for 30 days, and the old data is older.
fn extend_sessions(folder: &std::path::Path) {
    let accounts = rusqlite::Connection::open(folder.join("data/accounts.sqlite")).unwrap();
    const END: i64 = 4_102_444_800_000_000;
    for table in ["sessions", "refresh_tokens"] {
        assert!(accounts.execute(&format!("UPDATE {table} SET expires_at = ?"), [END]).unwrap() > 0);
    }
}

#[tokio::test]
async fn an_older_data_folder_opens_with_nothing_lost() {
    let expected = expected("expected.json");
    let folder = unpacked_folder();
    extend_sessions(folder.path());

    let mut server = TestServer::start_in(folder, &settings()).await;

    // An old API token is accepted.
    let accounts = &expected["accounts"];
    let ada = Client::new(&server.url, accounts["api_token"].as_str().unwrap());
    assert_pending_finished(&ada, &texts(&expected["pending"])).await;
    assert_same_responses(&ada, &expected["answers"]).await;
    assert_counts_kept(&ada, &expected).await;
    assert_session_continues(&ada, accounts["refresh_token"].as_str().unwrap()).await;
    for (id, sha256) in expected["images"].as_object().unwrap() {
        let image = ada.bytes(&format!("/v1/frames/{id}/image")).await.unwrap();
        let sum: String = Sha256::digest(&image).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, sha256.as_str().unwrap(), "the image of {id}");
    }
    let form = [
        ("grant_type", "password"),
        ("username", accounts["email"].as_str().unwrap()),
        ("password", accounts["password"].as_str().unwrap()),
    ];
    assert!(ada.token(&form).await["access_token"].is_string());
    let listed = server.command(&["dlq", "list", "frames"]);
    for letter in texts(&expected["dead_letters"]) {
        assert!(listed.contains(&letter), "{letter}\n{listed}");
    }
    assert!(server.process.stop(), "{}", server.process.output());
}

/// Runs `backup` or `restore` with this data folder.
fn sightline(arguments: &[&str], data: &std::path::Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    let output = command.args(arguments).arg("--data-dir").arg(data).env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The schema versions of documents and accounts in a data folder.
pub fn schema_versions(data: &std::path::Path) -> [i64; 2] {
    let one = |file: &str, sql: &str| {
        let file = rusqlite::Connection::open(data.join(file)).unwrap();
        file.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    [
        one("documents.sqlite", "SELECT user_version FROM pragma_user_version"),
        one("accounts.sqlite", "SELECT max(version) FROM sightline_schema"),
    ]
}

#[tokio::test]
async fn the_backup_from_before_an_upgrade_has_the_older_data() {
    let expected = expected("expected.json");
    let folder = unpacked_folder();
    extend_sessions(folder.path());
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    sightline(&["backup", backup.to_str().unwrap()], &data);
    migrate(&data, &[]);
    let [accounts, documents] = newest_versions();
    assert_eq!(schema_versions(&data), [documents as i64, accounts as i64]);

    // The way back: an earlier version finds its own schema, and everything that it had.
    std::fs::remove_dir_all(&data).unwrap();
    sightline(&["restore", backup.to_str().unwrap()], &data);
    assert_eq!(schema_versions(&data), [1, 1]);
    let mut server = TestServer::start_in(folder, &settings()).await;
    let ada = Client::new(&server.url, expected["accounts"]["api_token"].as_str().unwrap());
    assert_pending_finished(&ada, &texts(&expected["pending"])).await;
    assert_same_responses(&ada, &expected["answers"]).await;
    assert_counts_kept(&ada, &expected).await;
    assert!(server.process.stop(), "{}", server.process.output());
}

/// Puts every message of the old topics on a log of this version, and the blobs that they refer to in a folder.
async fn replay(bus: &dyn Bus, blobs: &std::path::Path, expected: &Value) {
    let producer = bus.producer();
    for line in unpacked("topics.jsonl.gz").split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: Value = serde_json::from_slice(line).unwrap();
        let decoded = |value: &Value| value.as_str().map(|text| STANDARD.decode(text).unwrap());
        let mut headers = Headers::new();
        for header in message["headers"].as_array().unwrap() {
            headers.push(header[0].as_str().unwrap().to_owned(), decoded(&header[1]).unwrap());
        }
        let role: TopicRole = message["role"].as_str().unwrap().parse().unwrap();
        let key = decoded(&message["key"]).map(Into::into);
        let message = Message { key, headers, value: decoded(&message["value"]).unwrap().into() };
        producer.send(role, message).unwrap().await.unwrap();
    }
    let image = unpacked("inbox.png.gz");
    for key in texts(&expected["inbox"]) {
        let path = blobs.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &image).unwrap();
    }
}

/// Every message of the old topics is processed, with the ids that the old program assigned.
async fn assert_topics_read(client: &Client, expected: &Value) {
    for id in texts(&expected["settled"]) {
        client.processed(&id).await;
    }
    // Each pending frame has one face or one suspicious vehicle; a built-in rule raises an alert about it.
    for id in texts(&expected["pending"]) {
        let frame = client.processed(&id).await;
        assert_eq!(frame["results"][0]["status"], "ok", "{frame}");
        assert_eq!(frame["detections"].as_array().unwrap().len(), 1, "{frame}");
        assert_eq!(client.rules_raised_about(&id, 1).await.len(), 1, "{id}");
    }
    let responses = &expected["answers"];
    for detection in responses[LISTS[1]]["items"].as_array().unwrap() {
        let foreign = detection["detector"] == "vehicle";
        let id = detection["id"].as_str().unwrap();
        assert!(foreign || client.json(&format!("/v1/detections/{id}")).await == *detection, "{detection}");
    }
    for vehicle in expected["foreign"].as_array().unwrap() {
        let make = vehicle.get("Make").or(vehicle.get("make")).and_then(Value::as_str).unwrap();
        let found = client.json(&format!("/v1/detections?label=vehicle&make={make}")).await;
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{make}: {found}");
    }
    // An old alert and the same alert raised again have equal ids, so they count once.
    let now = client.json("/v1/alerts/history?limit=1000").await;
    let ids = |alerts: &Value| -> BTreeSet<String> {
        let alerts = alerts["items"].as_array().unwrap().iter();
        let built_in = alerts.filter(|alert| alert["rule"] == "face-seen" && alert["detector"] == "face");
        built_in.map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
    };
    let lost: Vec<String> = ids(&responses[LISTS[2]]).difference(&ids(&now)).cloned().collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_counts_kept(client, expected).await;
}

#[tokio::test]
async fn older_topics_are_read_on_the_embedded_log() {
    let expected = expected("expected-topics.json");
    let folder = tempfile::tempdir().unwrap();
    let topics = Topics::parse(&std::fs::read_to_string(old("topics.yaml")).unwrap()).unwrap();
    let bus = EmbeddedBus::open(&folder.path().join("data/log"), &topics, Default::default()).unwrap();
    replay(&bus, &folder.path().join("data/blobs"), &expected).await;
    drop(bus);

    let mut server = TestServer::start_in(folder, &settings()).await;

    assert_topics_read(&Client::new(&server.url, &server.token), &expected).await;
    assert!(server.process.stop(), "{}", server.process.output());
}
