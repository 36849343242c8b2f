//! The erasure scan: after a deletion that was killed again and again, no file has anything of the person but what the receipt lists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use accounts::RedisAnswers;
use contracts::TopicRole;
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::relational::AnswerCache;

use super::{NAME, TestUser, photographs};
use crate::delivery::{TestClient, small_photo};
use crate::nothing_lost::TestServices;
use crate::processes::{TestServer, command, wait_until_ready};
use crate::uploads::start_with_uploads;

/// An id that occurs nowhere else.
const EXTERNAL_ID: &str = "hr-quernstone-77";
/// Frames in which the subject is recognised.
const FRAMES: u64 = 4;
/// Further detections of the subject, so that forgetting them takes several batches.
const DETECTIONS: u64 = 1_000;
/// Milliseconds from the request to the end of the process. In all, the time of several deletions.
const KILLED_AFTER: [u64; 10] = [0, 2, 4, 6, 10, 15, 20, 30, 40, 60];

/// What the check prints about an id that nothing has.
const NOTHING: &str =
    "nothing has the id; an id that never existed gives the same result: check that it is not mistyped\n";

const SUBJECT: &str = "id of the subject";
const IMAGE: &str = "image of a frame";
const ENROLLED: &str = "enrolled image";

/// Bytes that are searched for, and what they are.
struct Trace {
    what: &'static str,
    bytes: Vec<u8>,
}

impl Trace {
    fn of(what: &'static str, bytes: &[u8]) -> Self {
        Self { what, bytes: bytes.to_vec() }
    }

    /// All pieces of this length: a page of a file may have a part of the whole.
    fn pieces(what: &'static str, bytes: &[u8], length: usize) -> Vec<Self> {
        bytes.chunks_exact(length).map(|piece| Self::of(what, piece)).collect()
    }

    /// Pieces from within an image, away from what all images of a program have.
    fn within(what: &'static str, image: &[u8]) -> Vec<Self> {
        (1..8).map(|eighth| Self::of(what, &image[image.len() * eighth / 8..][..64])).collect()
    }

    /// A vector in both byte orders, and its int8 codes with and without an offset.
    fn vector(stored: &[u8]) -> Vec<Self> {
        let numbers: Vec<f32> = stored.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let big_endian: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
        let code = |number: &f32| ((number * 127.0 / largest).round() as i8).cast_unsigned();
        let codes: Vec<u8> = numbers.iter().map(code).collect();
        let offset: Vec<u8> = codes.iter().map(|code| code.wrapping_add(128)).collect();
        let mut all = Self::pieces("vector", stored, 32);
        all.extend(Self::pieces("vector, big-endian", &big_endian, 32));
        all.extend(Self::pieces("int8 codes", &codes, 16));
        all.extend(Self::pieces("int8 codes with an offset", &offset, 16));
        all
    }
}

/// What the files below a folder have of these traces, by the path below it.
fn found(folder: &Path, traces: &[Trace]) -> BTreeSet<(PathBuf, &'static str)> {
    // The first two bytes rule out most places.
    let mut starts = vec![false; 1 << 16];
    for trace in traces {
        starts[usize::from(u16::from_be_bytes([trace.bytes[0], trace.bytes[1]]))] = true;
    }
    let mut all = BTreeSet::new();
    for path in files_below(folder) {
        let bytes = std::fs::read(&path).unwrap();
        let relative = path.strip_prefix(folder).unwrap();
        for place in 0..bytes.len().saturating_sub(1) {
            if !starts[usize::from(u16::from_be_bytes([bytes[place], bytes[place + 1]]))] {
                continue;
            }
            let here = traces.iter().filter(|trace| bytes[place..].starts_with(&trace.bytes));
            all.extend(here.map(|trace| (relative.to_owned(), trace.what)));
        }
    }
    all
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The places in which a receipt says that something is left.
fn places(receipt: &Value) -> Vec<(PathBuf, &'static str)> {
    let place = |data: &Value| {
        let what = match data["holds"].as_str()? {
            "subject_id" => SUBJECT,
            "images" => IMAGE,
            _ => return None,
        };
        let path = match data["place"].as_str()? {
            "deleted subjects" => "accounts.sqlite".to_owned(),
            "images in the inbox" => "blobs/inbox".to_owned(),
            topic => format!("log/{}.topic", topic.strip_prefix("topic ")?),
        };
        Some((PathBuf::from(path), what))
    };
    receipt["remaining"].as_array().unwrap().iter().filter_map(place).collect()
}

/// The tables of a database that have a text.
fn tables_with(file: &Path, text: &str) -> BTreeSet<String> {
    let database = rusqlite::Connection::open(file).unwrap();
    let sql = "SELECT m.name, p.name FROM sqlite_schema m JOIN pragma_table_info(m.name) p WHERE m.type = 'table'";
    let mut columns = database.prepare(sql).unwrap();
    let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let columns: Vec<(String, String)> = columns.map(Result::unwrap).collect();
    let has = |(table, column): &(String, String)| {
        let sql = format!("SELECT count(*) FROM \"{table}\" WHERE instr(\"{column}\", ?) > 0");
        database.query_row(&sql, [text], |row| row.get::<_, i64>(0)).unwrap() > 0
    };
    columns.into_iter().filter(has).map(|(table, _)| table).collect()
}

/// The vector of the one enrolled face.
fn enrolled_vector(data: &Path) -> Vec<u8> {
    let database = rusqlite::Connection::open(data.join("accounts.sqlite")).unwrap();
    database.query_row("SELECT vector FROM face_vectors", [], |row| row.get(0)).unwrap()
}

/// Detections with the id of a subject.
async fn recognised(client: &TestClient) -> u64 {
    let counts = client.json("/v1/stats?group_by=attributes.subject").await;
    counts["items"].as_array().unwrap().iter().map(|item| item["count"].as_u64().unwrap()).sum()
}

/// Sends frames in which the subject is recognised, and detections of it, until all are stored.
async fn push(client: &TestClient, subject: &str, image: &[u8]) {
    let post = |path: &str| client.http.post(format!("{}{path}", client.url)).bearer_auth(&client.token);
    for _ in 0..FRAMES {
        let sent = post("/v1/frames").header("content-type", "image/jpeg").body(image.to_vec()).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::ACCEPTED);
    }
    let attributes = json!({"identity": "subject", "subject": subject, "similarity": 0.5});
    let detection = json!({"label": "face", "confidence": 0.9, "attributes": attributes});
    futures::stream::iter(0..DETECTIONS)
        .for_each_concurrent(8, |_| {
            let request = post("/v1/detections").json(&detection);
            async move { assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED) }
        })
        .await;
    testing::eventually("all detections are stored", async || recognised(client).await == FRAMES + DETECTIONS).await;
}

/// Deletes the subject; the process is killed during each request. Returns how often the deletion was done in part.
async fn delete_under_kills(up: &mut TestServer, client: &TestClient, subject: &str) -> usize {
    let path = format!("{}/v1/faces/subjects/{subject}", up.url);
    let mut partly = 0;
    for after in KILLED_AFTER {
        // A new connection each time: the server that had the old one is gone.
        let request = reqwest::Client::new().delete(&path).bearer_auth(&client.token).timeout(Duration::from_secs(30));
        let deleting = tokio::spawn(request.send());
        tokio::time::sleep(Duration::from_millis(after)).await;
        up.process.kill_and_restart();
        wait_until_ready(&mut up.process, &up.url).await;
        // The end of the process cut it off, or it was answered before.
        drop(deleting.await);
        let is_gone = reqwest::Client::new().get(&path).bearer_auth(&client.token).send().await.unwrap().status()
            == StatusCode::NOT_FOUND;
        partly += usize::from(is_gone && recognised(client).await > 0);
    }
    partly
}

/// Checks that the command finds the id of a deleted subject, and only where its receipt lists it.
fn assert_only_listed(up: &TestServer, subject: &str) {
    let (is_clean, printed, error) = up.outcome(&["erase", "check", subject]);
    assert!(is_clean, "{printed}{error}");
    for place in ["accounts face_former_subjects 1 (id 1)", "topic sightline.results ", "topic sightline.alerts "] {
        let listed = |line: &str| line.starts_with(place) && line.contains(": in the receipt until 20");
        assert!(printed.lines().any(listed), "{place}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_killed_ten_times_leaves_what_its_receipt_lists() {
    let Some(photographs) = photographs("a_deletion_killed_ten_times_leaves_what_its_receipt_lists") else {
        return;
    };
    let enrolled = std::fs::read(photographs.join("obama_a.jpg")).unwrap();
    let image = std::fs::read(photographs.join("obama_biden_2faces.jpg")).unwrap();
    let settings = ["FACES_LIVE", "RULE_FACE_SEEN", "FACES_KEEP_IMAGES"].map(|name| format!("SIGHTLINE_{name}"));
    let settings = settings.each_ref().map(|name| (name.as_str(), "on".to_owned()));
    let mut up = TestServer::start(&settings).await;
    let data = up.data.path().join("data");
    let operator = TestUser { id: String::new(), token: up.token.clone(), url: up.url.clone() };
    let client = TestClient::new(&up.url, &up.token);
    let subject = operator.enrol(&photographs.join("obama_a.jpg")).await;
    let path = format!("/v1/faces/subjects/{subject}");
    assert_eq!(operator.json(Method::PATCH, &path, json!({"external_id": EXTERNAL_ID})).await.0, StatusCode::OK);
    let list = operator.json(Method::PUT, "/v1/faces/watchlists/staff", json!({"subjects": [subject]})).await;
    assert_eq!(list.0, StatusCode::OK, "{}", list.1);
    // The gallery counts after a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    push(&client, &subject, &image).await;

    let mut traces = vec![Trace::of("name", NAME.as_bytes()), Trace::of("external id", EXTERNAL_ID.as_bytes())];
    traces.push(Trace::of(SUBJECT, subject.as_bytes()));
    traces.extend(Trace::vector(&enrolled_vector(&data)));
    traces.extend(Trace::within(IMAGE, &image));
    traces.extend(Trace::within(ENROLLED, &enrolled));
    let before: BTreeSet<&str> = found(&data, &traces).into_iter().map(|(_, what)| what).collect();
    let expected = ["name", "external id", SUBJECT, "vector", IMAGE, ENROLLED].into();
    assert_eq!(before, expected, "the search finds what is there");

    let (is_clean, printed, error) = up.outcome(&["erase", "check", &subject]);
    assert!(!is_clean && error.contains("in no receipt; no deletion of this id is recorded"), "{printed}{error}");
    for place in [
        "accounts face_subjects 1 (id 1)",
        "documents detections 1004",
        "documents watchlists 1",
        "images enrolled 1",
        "topic sightline.results",
    ] {
        assert!(printed.lines().any(|line| line.starts_with(place) && line.ends_with(": in no receipt")), "{printed}");
    }
    assert!(!printed.contains(NAME) && !printed.contains(EXTERNAL_ID), "{printed}");

    let partly = delete_under_kills(&mut up, &client, &subject).await;
    assert!(partly > 0, "no kill came in the middle of the deletion");
    testing::eventually("nothing is left to delete", async || {
        operator.json(Method::DELETE, &path, Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    // Any receipt lists the same places.
    let other = operator.json(Method::POST, "/v1/faces/subjects", json!({})).await.1;
    let other = format!("/v1/faces/subjects/{}", other["id"].as_str().unwrap());
    let (_, receipt) = operator.json(Method::DELETE, &other, Value::Null).await;

    assert_only_listed(&up, &subject);
    assert!(up.process.stop(), "{}", up.process.output());
    assert_only_listed(&up, &subject);
    let listed = places(&receipt);
    let mut left = found(&data, &traces);
    left.retain(|(path, what)| !listed.iter().any(|(place, holds)| path.starts_with(place) && what == holds));
    assert_eq!(left, BTreeSet::new(), "{receipt}");
    assert_eq!(tables_with(&data.join("accounts.sqlite"), &subject), ["face_former_subjects".to_owned()].into());
    let kept = files_below(&data.join("blobs")).into_iter().filter(|path| !path.ends_with("check/writable"));
    assert_eq!(kept.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "a kept image");
    let output = up.process.output();
    assert!(!output.contains(NAME) && !output.contains(EXTERNAL_ID), "a name is in the log output");
}

/// What `sightline erase check` prints about an id, where the folder of uploads is this one.
fn checked(up: &TestServer, uploads: &Path, id: &str) -> String {
    let mut command = up.command_of(&["erase", "check", id]);
    let output = command.env("SIGHTLINE_FACES_UPLOADS_DIR", uploads).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_user_who_was_verified_by_a_photograph() {
    let Some(photographs) = photographs("nothing_is_left_of_a_user_who_was_verified_by_a_photograph") else { return };
    let photograph = photographs.join("obama_a.jpg");
    let (mut up, uploads) = start_with_uploads(&[("SIGHTLINE_FACES_KEEP_IMAGES", "on".to_owned())]).await;
    let data = up.data.path().join("data");
    let ann = TestUser::add(&up, "ann").await;
    let me = async || ann.json(Method::GET, "/v1/users/me", json!({})).await.1;
    let verified = async || me().await["verified"].clone();
    let (status, accepted) = ann.image("/v1/users/me/photo", &photograph).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    testing::eventually("the user is verified", async || verified().await == true && files_below(&uploads).is_empty())
        .await;
    let subjects = ann.json(Method::GET, "/v1/faces/subjects", json!({})).await.1;
    let subject = subjects["items"][0]["id"].as_str().unwrap().to_owned();

    let image = std::fs::read(&photograph).unwrap();
    let mut traces = vec![Trace::of(SUBJECT, subject.as_bytes())];
    traces.extend(Trace::vector(&enrolled_vector(&data)));
    traces.extend(Trace::within(ENROLLED, &image));
    let before: BTreeSet<&str> = found(&data, &traces).into_iter().map(|(_, what)| what).collect();
    assert_eq!(before, [SUBJECT, "vector"].into(), "a photograph that verifies a user is kept in no mode");
    // Another one that waits.
    std::fs::write(uploads.join(accepted["path"].as_str().unwrap()), &image).unwrap();
    let printed = checked(&up, &uploads, &ann.id);
    assert!(printed.contains("\nuploads photographs 1: in no receipt\n"), "{printed}");

    let (status, receipt) = ann.json(Method::DELETE, &format!("/v1/faces/subjects/{subject}"), json!({})).await;

    assert_eq!((status, verified().await), (StatusCode::OK, json!(false)), "{receipt}");
    assert_eq!(me().await.get("photo"), None, "an outcome about the deleted face is shown");
    assert_eq!(files_below(&uploads), Vec::<PathBuf>::new());
    assert!(!checked(&up, &uploads, &ann.id).contains("uploads photographs"));
    assert!(up.process.stop(), "{}", up.process.output());
    let (is_clean, printed, error) = up.outcome(&["erase", "check", &subject]);
    assert!(is_clean && printed.starts_with("accounts face_former_subjects 1 (id 1): "), "{printed}{error}");
    let listed = places(&receipt);
    let mut left = found(&data, &traces);
    left.retain(|(path, what)| !listed.iter().any(|(place, holds)| path.starts_with(place) && what == holds));
    assert_eq!(left, BTreeSet::new(), "{receipt}");
    assert_eq!(tables_with(&data.join("accounts.sqlite"), &subject), ["face_former_subjects".to_owned()].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn an_id_is_found_in_the_stores_of_servers() {
    // With it there are models, too.
    let Some(_) = small_photo("an_id_is_found_in_the_stores_of_servers") else { return };
    let (mut services, namespace) = TestServices::start().await;
    let client = TestClient::new(&services.url, &namespace.token);
    let subject = uuid::Uuid::now_v7().to_string();
    let attributes = json!({"identity": "subject", "subject": subject});
    let detection = json!({"label": "gate", "confidence": 0.9, "attributes": attributes});
    let request = client.http.post(format!("{}/v1/detections", client.url)).bearer_auth(&client.token);
    assert_eq!(request.json(&detection).send().await.unwrap().status(), StatusCode::ACCEPTED);
    testing::eventually("the detection is stored", async || recognised(&client).await == 1).await;

    let servers = ["KAFKA_BROKERS", "TOPICS_FILE", "MONGODB_URI", "MONGODB_DATABASE", "DATABASE_URL", "BLOB_URL"];
    let servers = servers.iter().chain(&["REDIS_URL"]).map(|name| format!("SIGHTLINE_{name}"));
    let servers: Vec<String> = servers.collect();
    let settings = namespace.settings(&servers.iter().map(String::as_str).collect::<Vec<_>>());
    let settings: Vec<_> = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let check = |id: String| {
        let arguments = ["erase".to_owned(), "check".to_owned(), id];
        let output = command(env!("CARGO_BIN_EXE_sightline"), &arguments, &settings).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (status, printed, error) = check(subject);
    assert_eq!(status, Some(1), "{printed}{error}");
    let topic = &namespace.topics.get(TopicRole::Results).name;
    let expected = format!("documents detections 1: in no receipt\ntopic {topic} 1: in no receipt\n");
    assert_eq!(printed, expected, "{error}");
    let (status, printed, error) = check(uuid::Uuid::now_v7().to_string());
    assert_eq!((status, printed.as_str()), (Some(0), NOTHING), "{error}");

    let redis = settings.iter().find(|(name, _)| name == "SIGHTLINE_REDIS_URL").unwrap();
    let (answers, user) = (RedisAnswers::new(&redis.1).unwrap(), uuid::Uuid::now_v7().to_string());
    let key = format!("test:{user}");
    testing::eventually("an answer is cached", async || {
        let Some(cached) = answers.get(&key).await else { return false };
        answers.put(&key, "yes", cached.forgotten, Duration::from_secs(60)).await;
        answers.get(&key).await.is_some_and(|cached| cached.answer.is_some())
    })
    .await;
    let (status, printed, error) = check(user.clone());
    assert_eq!((status, printed.as_str()), (Some(1), "redis answer 1: in no receipt\n"), "{error}");
    answers.forget(&key).await;
    let (status, printed, error) = check(user);
    assert_eq!((status, printed.as_str()), (Some(0), NOTHING), "{error}");
    services.stop();
}
