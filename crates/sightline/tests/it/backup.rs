//! `sightline backup` and `sightline restore`, with processes and folders.

mod servers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contracts::FrameId;
use platform::sse::{SseEvent, SseParser};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use crate::delivery::{TestClient, small_photo, wait_for_a_frame};
use crate::processes::{TIMEOUT, TestServer};

/// A folder for backups and data folders.
struct TestFolder(tempfile::TempDir);

impl TestFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Runs a command with this data folder.
fn run(arguments: &[&str], folder: &Path, data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    command.args(arguments).arg(folder).arg("--data-dir").arg(data).env_clear().output().unwrap()
}

/// Standard output of a command that succeeds.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Standard error of a command that fails.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Clients that send one image again and again until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<std::sync::Mutex<BTreeSet<FrameId>>>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(client: &TestClient, image: &bytes::Bytes) -> Self {
        let mut load = Self { stop: Arc::default(), acknowledged: Arc::default(), clients: JoinSet::new() };
        for _ in 0..8 {
            let (client, image) = (client.clone(), image.clone());
            let (stop, acknowledged) = (load.stop.clone(), load.acknowledged.clone());
            load.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let frame = client.send(&image).await;
                    acknowledged.lock().unwrap().insert(frame);
                }
            });
        }
        load
    }

    fn acknowledged(&self) -> BTreeSet<FrameId> {
        self.acknowledged.lock().unwrap().clone()
    }

    async fn wait_for(&self, frames: usize) {
        while self.acknowledged().len() < frames {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_under_load_has_every_frame_acknowledged_before() {
    let Some(image) = small_photo("a_backup_under_load_has_every_frame_acknowledged_before") else { return };
    let folder = TestFolder::new();
    let (backup, data) = (folder.path("backup"), folder.path("data"));
    let up = TestServer::start(&[]).await;
    let client = TestClient::new(&up.url, &up.token);
    let user = json!({"email": "ann@example.org", "username": "ann", "password": "lamp ostrich kettle"});
    assert_eq!(client.http.post(format!("{}/v1/users", up.url)).json(&user).send().await.unwrap().status(), 201);

    let cursor = from_alerts(&client, None, |parser, _| parser.last_id().map(str::to_owned)).await;
    let load = Load::start(&client, &image);
    load.wait_for(300).await;
    wait_for_a_frame(&up.admin).await;
    let before = load.acknowledged();
    let (to, from) = (backup.clone(), up.data.path().join("data"));
    let output = tokio::task::spawn_blocking(move || run(&["backup"], &to, &from)).await.unwrap();
    let line = printed(&output);
    assert!(line.starts_with("backup of ") && load.acknowledged().len() > before.len(), "{line}");
    load.stop().await;
    drop(up);

    assert!(printed(&run(&["restore", "--check"], &backup, &data)).contains("complete and undamaged"));
    assert!(!data.exists());
    assert!(printed(&run(&["restore"], &backup, &data)).contains("restored to"));

    let restored = TestServer::start_in(folder.0, &[]).await;
    let client = TestClient::new(&restored.url, &restored.token);
    for frame in &before {
        let view = client.results(*frame).await;
        assert_eq!((view.results.len(), view.detections.len()), (1, 1), "{view:?}");
    }
    let with_image = client.results(*before.first().unwrap()).await.frame_id;
    assert_eq!(client.get(&format!("/v1/frames/{with_image}/image")).send().await.unwrap().status(), 200);
    // The log gives offsets after the backup to other alerts, so a cursor from before must not be continued silently.
    let first = from_alerts(&client, Some(&cursor), |_, events| events.first().cloned()).await;
    assert!(first.event == "reset" && first.data.contains("other_log"), "{first:?}");
    let users = client.json("/v1/users?search=ann").await;
    assert_eq!(users["items"][0]["username"], "ann", "{users}");
}

/// Reads the stream of alerts from a cursor, or its end, until `wanted` returns a value.
async fn from_alerts<T>(
    client: &TestClient,
    cursor: Option<&str>,
    wanted: impl Fn(&SseParser, &[SseEvent]) -> Option<T>,
) -> T {
    let mut request = reqwest::Client::new().get(format!("{}/v1/alerts", client.url)).bearer_auth(&client.token);
    if let Some(cursor) = cursor {
        request = request.header("last-event-id", cursor);
    }
    let (mut parser, mut bytes) = (SseParser::default(), request.send().await.unwrap().bytes_stream());
    while let Some(piece) = tokio::time::timeout(TIMEOUT, bytes.next()).await.expect("an event") {
        let events = parser.feed(&piece.unwrap());
        if let Some(found) = wanted(&parser, &events) {
            return found;
        }
    }
    panic!("the stream of alerts ended");
}

/// The backup of a new, stopped `up`, with the folder that it is in.
async fn small_backup() -> (TestFolder, PathBuf) {
    let folder = TestFolder::new();
    let backup = folder.path("backup");
    let mut up = TestServer::start(&[]).await;
    assert!(up.process.stop(), "{}", up.process.output());
    printed(&run(&["backup"], &backup, &up.data.path().join("data")));
    (folder, backup)
}

fn change_manifest(backup: &Path, change: impl FnOnce(&mut Value)) {
    let path = backup.join("manifest.json");
    let mut manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(path, manifest.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_or_data_folder_is_never_overwritten() {
    let (folder, backup) = small_backup().await;
    let data = folder.path("data");
    let again = refusal(&run(&["backup"], &backup, &folder.path("nowhere")));
    assert!(again.contains("backup exists"), "{again}");
    let nothing = refusal(&run(&["backup"], &folder.path("new"), &folder.path("nowhere")));
    assert!(nothing.contains("is not the data folder") && !folder.path("new").exists(), "{nothing}");
    assert!(!folder.path("new.partial").exists(), "a failed backup is removed");

    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("mine"), "text").unwrap();
    let refused = refusal(&run(&["restore"], &backup, &data));
    assert!(refused.contains("SIGHTLINE_DATA_DIR") && refused.contains("is not empty"), "{refused}");
    assert_eq!(data.read_dir().unwrap().count(), 1);

    std::fs::remove_file(data.join("mine")).unwrap();
    std::fs::create_dir(data.join(".restoring")).unwrap();
    assert!(refusal(&run(&["restore"], &backup, &data)).contains("is not empty"));
    let mut up = Command::new(env!("CARGO_BIN_EXE_sightline"));
    up.args(["up", "--http-addr", "127.0.0.1:0", "--admin-addr", "off", "--grpc-addr", "off", "--data-dir"])
        .arg(&data)
        .env_clear();
    assert!(refusal(&up.output().unwrap()).contains("was interrupted"));
    std::fs::remove_dir(data.join(".restoring")).unwrap();
    printed(&run(&["restore"], &backup, &data));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_into_its_own_source_is_refused() {
    let folder = TestFolder::new();
    let mut up = TestServer::start(&[]).await;
    assert!(up.process.stop(), "{}", up.process.output());
    let (data, backup) = (up.data.path().join("data"), folder.path("backup"));
    let below = refusal(&run(&["backup"], &data.join("blobs/backup"), &data));
    assert!(below.contains("which is to be copied") && !data.join("blobs/backup.partial").exists(), "{below}");
    printed(&run(&["backup"], &backup, &data));
    let below = refusal(&run(&["restore"], &backup, &backup.join("a/b")));
    assert!(below.contains("which is to be copied") && !backup.join("a").exists(), "{below}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_or_newer_backup_is_refused_before_anything_is_written() {
    let (folder, backup) = small_backup().await;
    let data = folder.path("data");
    let refused = |expected: &str| {
        for arguments in [&["restore", "--check"][..], &["restore"]] {
            let refused = refusal(&run(arguments, &backup, &data));
            assert!(refused.contains(expected), "{expected}: {refused}");
        }
        assert!(!data.exists(), "{expected}");
    };
    let accounts = backup.join("accounts.sqlite");
    let content = std::fs::read(&accounts).unwrap();
    let mut damaged = content.clone();
    damaged[5000] ^= 1;
    std::fs::write(&accounts, &damaged).unwrap();
    refused("accounts.sqlite has another content");
    std::fs::remove_file(&accounts).unwrap();
    refused("accounts.sqlite is missing");
    let manifest = std::fs::read(backup.join("manifest.json")).unwrap();
    change_manifest(&backup, |manifest| drop(manifest["files"].as_object_mut().unwrap().remove("accounts.sqlite")));
    refused("accounts.sqlite is missing in manifest.json");
    std::fs::write(backup.join("manifest.json"), manifest).unwrap();
    std::fs::write(&accounts, &content).unwrap();
    std::fs::write(backup.join("log/more"), "text").unwrap();
    refused("not part of the backup: log/more");
    std::fs::remove_file(backup.join("log/more")).unwrap();

    for part in ["log", "documents", "accounts"] {
        change_manifest(&backup, |manifest| manifest["schema"][part] = json!(99));
        refused("schema version 99 of the backup's");
        change_manifest(&backup, |manifest| manifest["schema"][part] = json!(1));
    }
    change_manifest(&backup, |manifest| {
        manifest["format"] = json!(1);
        manifest["schema"]["kafka"] = json!(1);
    });
    refused("has messages of Kafka in format 1");
    change_manifest(&backup, |manifest| *manifest = json!({"format": 3, "parts": []}));
    refused("has format 3, this program knows 2");
    std::fs::remove_file(backup.join("manifest.json")).unwrap();
    refused("is not a complete backup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_names_what_is_on_servers() {
    let folder = TestFolder::new();
    let mut up = TestServer::start(&[]).await;
    assert!(up.process.stop(), "{}", up.process.output());
    let arguments = ["backup", "--mongodb-uri", "mongodb://mongodb/sightline"];
    let lines = printed(&run(&arguments, &folder.path("backup"), &up.data.path().join("data")));
    assert!(lines.contains("not in this backup: documents (MongoDB)"), "{lines}");
    let entries = folder.path("backup").read_dir().unwrap();
    let files: BTreeSet<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let expected = ["accounts.sqlite", "admin.token", "blobs", "log", "manifest.json", "media"];
    assert_eq!(files, expected.map(str::to_owned).into());
}
