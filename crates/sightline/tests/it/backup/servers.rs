//! The same with real servers: the log on Kafka, and everything on servers, in the order of docs/BACKUP.md.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use contracts::FrameId;
use futures::TryStreamExt;
use mongodb::Client as MongoClient;
use mongodb::bson::{Document, doc};
use serde_json::json;

use super::{Load, TestFolder, change_manifest, printed, refusal};
use crate::delivery::{TestClient, small_photo, wait_for_a_frame};
use crate::nothing_lost::{TestNamespace, TestServices};
use crate::processes::TestServer;

/// Runs a command of `sightline` with only these settings.
fn run(arguments: &[&str], folder: &Path, settings: &[(&'static str, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    command.args(arguments).arg(folder).env_clear().envs(settings.iter().cloned()).output().unwrap()
}

/// Number of messages that a restore sent to Kafka, by its output.
fn sent_messages(line: &str) -> u64 {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "messages").unwrap_or_else(|| panic!("{line}"));
    words[at - 1].parse().unwrap()
}

/// Every frame has its result and its detection, and was counted once.
async fn assert_all_there(client: &TestClient, before: &BTreeSet<FrameId>) {
    for frame in before {
        let view = client.results(*frame).await;
        assert_eq!((view.results.len(), view.detections.len()), (1, 1), "{view:?}");
    }
    let counts = client.json("/v1/stats?group_by=label").await;
    assert!(counts["items"][0]["count"].as_u64().unwrap() >= before.len() as u64, "{counts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn a_backup_of_a_log_on_kafka_under_load_has_every_frame() {
    let Some(image) = small_photo("a_backup_of_a_log_on_kafka_under_load_has_every_frame") else { return };
    let folder = TestFolder::new();
    let on_kafka = |name: &str| {
        std::fs::create_dir(folder.path(name)).unwrap();
        TestNamespace::create(&folder.path(name)).settings(&["SIGHTLINE_KAFKA_BROKERS", "SIGHTLINE_TOPICS_FILE"])
    };
    let (before_loss, incomplete, after_loss) = (on_kafka("one"), on_kafka("incomplete"), on_kafka("two"));
    let up = TestServer::start(&before_loss).await;
    let client = TestClient::new(&up.url, &up.token);

    let load = Load::start(&client, &image);
    load.wait_for(300).await;
    wait_for_a_frame(&up.admin).await;
    let before = load.acknowledged();
    let mut settings = before_loss.clone();
    settings.push(("SIGHTLINE_DATA_DIR", up.data.path().join("data").to_str().unwrap().to_owned()));
    let to = folder.path("backup");
    let output = tokio::task::spawn_blocking(move || run(&["backup"], &to, &settings)).await.unwrap();
    printed(&output);
    assert!(load.acknowledged().len() > before.len());
    load.stop().await;
    drop(up);

    let restore = |settings: &[_]| run(&["restore"], &folder.path("backup"), settings);
    let mut settings = incomplete;
    settings.push(("SIGHTLINE_DATA_DIR", folder.path("incomplete/data").to_str().unwrap().to_owned()));
    let add = |count: i64| {
        change_manifest(&folder.path("backup"), |manifest| {
            let messages = &mut manifest["kafka_messages"];
            *messages = json!(messages.as_i64().unwrap() + count);
        });
    };
    add(1);
    let refused = refusal(&restore(&settings));
    assert!(refused.contains("messages were sent to Kafka; delete the topics"), "{refused}");
    add(-1);

    let data = tempfile::tempdir().unwrap();
    let mut settings = after_loss.clone();
    settings.push(("SIGHTLINE_DATA_DIR", data.path().join("data").to_str().unwrap().to_owned()));
    let restored = printed(&restore(&settings));
    assert!(sent_messages(&restored) > 0 && restored.contains("restored to"), "{restored}");
    let again = refusal(&restore(&settings));
    assert!(again.contains("is not empty"), "{again}");

    let up = TestServer::start_in(data, &after_loss).await;
    assert_all_there(&TestClient::new(&up.url, &up.token), &before).await;
}

/// `mongodump` and `mongorestore`, which are not in this project's set of servers: copies every collection but the version's.
async fn copy_documents(uri: &str, from: &str, to: &str) {
    let client = MongoClient::with_uri_str(uri).await.unwrap();
    let (from, to) = (client.database(from), client.database(to));
    for name in from.list_collection_names().await.unwrap() {
        let documents = from.collection::<Document>(&name).find(doc! {}).await.unwrap();
        let documents: Vec<Document> = documents.try_collect().await.unwrap();
        if name != "meta" && !documents.is_empty() {
            to.collection::<Document>(&name).insert_many(documents).await.unwrap();
        }
    }
}

/// Runs a program of PostgreSQL.
fn postgres(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The value of a setting.
fn value<'a>(settings: &'a [(&'static str, String)], name: &str) -> &'a str {
    &settings.iter().find(|(known, _)| *known == name).unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn a_backup_of_servers_under_load_has_every_frame_and_user() {
    let Some(image) = small_photo("a_backup_of_servers_under_load_has_every_frame_and_user") else { return };
    let backup = TestFolder::new();
    let names = [
        "SIGHTLINE_KAFKA_BROKERS",
        "SIGHTLINE_TOPICS_FILE",
        "SIGHTLINE_MONGODB_URI",
        "SIGHTLINE_MONGODB_DATABASE",
        "SIGHTLINE_DATABASE_URL",
        "SIGHTLINE_BLOB_URL",
    ];
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("blobs");
    let one = TestNamespace::create(folder.path());
    let settings = one.settings(&names);
    let mut services = TestServices::start_in(folder, &one, &[]).await;
    let client = TestClient::new(&services.url, &one.token);
    // All runs share the accounts.
    let name = format!("ann-{}", &one.token[one.token.len() - 12..]);
    let user = json!({"email": format!("{name}@example.org"), "username": name, "password": "lamp ostrich kettle"});
    assert_eq!(client.http.post(format!("{}/v1/users", client.url)).json(&user).send().await.unwrap().status(), 201);

    let load = Load::start(&client, &image);
    load.wait_for(300).await;
    let before = load.acknowledged();
    client.results(*before.first().unwrap()).await;
    let (to, from) = (backup.path("backup"), settings.clone());
    let output = tokio::task::spawn_blocking(move || run(&["backup"], &to, &from)).await.unwrap();
    let lines = printed(&output);
    assert!(load.acknowledged().len() > before.len(), "{lines}");
    // The other steps of the page, in its order and still under load.
    let folder = tempfile::tempdir().unwrap();
    let two = TestNamespace::create(folder.path());
    let into = two.settings(&names);
    let uri = value(&settings, "SIGHTLINE_MONGODB_URI");
    copy_documents(uri, value(&settings, "SIGHTLINE_MONGODB_DATABASE"), value(&into, "SIGHTLINE_MONGODB_DATABASE"))
        .await;
    let copied = Command::new("cp").arg("-r").arg(&blobs).arg(folder.path().join("blobs")).status().unwrap();
    assert!(copied.success());
    let (server, dump) = (value(&settings, "SIGHTLINE_DATABASE_URL"), backup.path("accounts.dump"));
    postgres("pg_dump", &["--format=custom", "--file", dump.to_str().unwrap(), server]);
    load.stop().await;
    services.stop();
    drop(services);

    let database = format!("{}/{}", server.rsplit_once('/').unwrap().0, value(&into, "SIGHTLINE_MONGODB_DATABASE"));
    let create = format!("CREATE DATABASE {}", value(&into, "SIGHTLINE_MONGODB_DATABASE"));
    postgres("psql", &["--command", &create, server]);
    postgres("pg_restore", &["--dbname", &database, dump.to_str().unwrap()]);
    let restored = printed(&run(&["restore"], &backup.path("backup"), &into));
    assert!(sent_messages(&restored) > 0, "{restored}");
    let refused = refusal(&run(&["restore"], &backup.path("backup"), &into));
    assert!(refused.contains("restored into empty topics only"), "{refused}");

    let mut services = TestServices::start_in(folder, &two, &[("SIGHTLINE_DATABASE_URL", database)]).await;
    let client = TestClient::new(&services.url, &two.token);
    assert_all_there(&client, &before).await;
    let users = client.json(&format!("/v1/users?search={name}")).await;
    assert_eq!(users["items"][0]["username"], name.as_str(), "{users}");
    services.stop();
}
