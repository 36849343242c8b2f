//! Audiobooks in a running `up`: from a recording to a transcript, with providers by script and with Whisper where its model is.
//!
//! Speech is found by a network and sentences are embedded by another one, so these tests need their files in `SIGHTLINE_MODELS_DIR`, and
//! `SIGHTLINE_SAMPLES_DIR` with a recording.

mod scripted;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::scripted::Scripted;
use crate::processes::{TIMEOUT, TestServer, path_from_env, wait_until_ready};
use crate::shop::{Buyer, admin, body_of};

/// What finds speech and embeds sentences.
const NETWORKS: [&str; 2] = ["silero_vad_16k_op15.onnx", "minilm-l6-v2-int8.onnx"];
/// What transcribes.
const WHISPER: &str = "ggml-tiny.en-f16.bin";

/// A recording of eleven seconds, and a folder for files of the test; `None` if the test is skipped.
fn recording(test: &str, files: &[&str]) -> Option<(PathBuf, TempDir)> {
    let (models, samples) =
        (path_from_env(test, "SIGHTLINE_MODELS_DIR")?, path_from_env(test, "SIGHTLINE_SAMPLES_DIR")?);
    if let Some(missing) = files.iter().find(|file| !models.join(file).exists()) {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no {missing}");
        return None;
    }
    let recording = samples.join("audio/jfk.wav");
    if !recording.exists() {
        println!("skipped: {test}: SIGHTLINE_SAMPLES_DIR has no audio/jfk.wav");
        return None;
    }
    Some((recording, tempfile::tempdir().unwrap()))
}

/// Settings of a server with audio, and with these providers if there are any.
fn with_audio(folder: &TempDir, providers: Option<&str>) -> Vec<(&'static str, String)> {
    let mut settings = vec![("SIGHTLINE_AUDIO", "on".to_owned())];
    if let Some(providers) = providers {
        let file = folder.path().join("providers.yaml");
        std::fs::write(&file, providers).unwrap();
        settings.push(("SIGHTLINE_PROVIDERS_FILE", file.to_str().unwrap().to_owned()));
    }
    settings
}

/// Adds a book with its recording, and does not wait for the work on it.
async fn add_book(up: &TestServer, recording: &PathBuf) -> String {
    let new = json!({"title": "Inauguration", "author": "John F. Kennedy", "price": {"minor": 100, "currency": "EUR"}});
    let added = admin(up, Method::POST, "/v1/books").json(&new).send().await.unwrap();
    let book = body_of(added).await["id"].as_str().unwrap().to_owned();
    let link = admin(up, Method::POST, &format!("/v1/books/{book}/upload")).send().await.unwrap();
    let link = body_of(link).await["upload_url"].as_str().unwrap().to_owned();
    let link = format!("{}{}", up.url, &link[link.find("/v1/").unwrap()..]);
    let put = reqwest::Client::new().put(link).body(std::fs::read(recording).unwrap()).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    book
}

/// Goes on with the work on a book; returns the status and the body of the response.
async fn resume(up: &TestServer, book: &str, body: Value) -> (StatusCode, Value) {
    let request = admin(up, Method::POST, &format!("/v1/books/{book}/pipeline")).json(&body);
    let response = request.send().await.unwrap();
    (response.status(), body_of(response).await)
}

/// Waits until the pipeline of a book is as it should be.
async fn eventually(up: &TestServer, book: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let response = admin(up, Method::GET, &format!("/v1/books/{book}/pipeline")).send().await.unwrap();
        let progress = body_of(response).await;
        if holds(&progress) {
            return progress;
        }
        assert!(begun.elapsed() < TIMEOUT, "never {what}: {progress}\n{}", up.process.output());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn audio_that_is_off_costs_nothing_and_says_so() {
    let up = TestServer::start(&[]).await;
    let log = std::fs::read_dir(up.data.path().join("data/log")).unwrap().filter_map(Result::ok);
    let names: Vec<String> = log.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("media")), "{names:?}");
    let refused = admin(&up, Method::GET, "/v1/providers").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_IMPLEMENTED);
    let refused = body_of(refused).await;
    assert_eq!(refused["code"], "audio_off");
    assert!(refused["detail"].as_str().unwrap().contains("SIGHTLINE_AUDIO"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_recording_becomes_a_transcript_that_its_buyer_reads_and_searches() {
    const TEST: &str = "a_recording_becomes_a_transcript_that_its_buyer_reads_and_searches";
    let Some((recording, folder)) = recording(TEST, &[&NETWORKS[..], &[WHISPER]].concat()) else { return };
    let up = TestServer::start(&with_audio(&folder, None)).await;
    let book = add_book(&up, &recording).await;
    let (status, done) = resume(&up, &book, json!({})).await;
    assert_eq!((status, done["status"].as_str()), (StatusCode::OK, Some("ready")), "{done}");

    let ann = Buyer::new(&up, "ann").await;
    let text = format!("/v1/books/{book}/transcript.txt");
    assert_eq!(ann.send(Method::GET, &text).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(ann.send(Method::PUT, &format!("/v1/cart/{book}")).await.status(), StatusCode::OK);
    ann.checkout("one").await;
    let words = ann.send(Method::GET, &text).await.text().await.unwrap().to_lowercase();
    assert!(words.contains("ask not what your country can do for you"), "{words}");
    for (form, begins) in [("vtt", "WEBVTT"), ("srt", "1\n00:00:0"), ("json", "{\"version\":1")] {
        let file = ann.send(Method::GET, &format!("/v1/books/{book}/transcript.{form}")).await;
        assert!(file.headers()["content-disposition"].to_str().unwrap().contains(&format!(".{form}")));
        let content = file.text().await.unwrap();
        assert!(content.starts_with(begins), "{content}");
    }
    let found =
        ann.send(Method::GET, &format!("/v1/books/{book}/search?q=what+citizens+owe+their+nation&limit=3")).await;
    let found = body_of(found).await;
    assert!(found["items"][0]["text"].as_str().unwrap().to_lowercase().contains("country"), "{found}");

    let ledger = body_of(admin(&up, Method::GET, &format!("/v1/ledger?book={book}")).send().await.unwrap()).await;
    assert!(ledger["items"].as_array().unwrap().iter().all(|call| call["state"] == "settled"), "{ledger}");
    // A book that is done has one last event, and the stream ends.
    let events = admin(&up, Method::GET, &format!("/v1/books/{book}/pipeline/events")).send().await.unwrap();
    let events = events.text().await.unwrap();
    assert!(events.starts_with("event: progress\ndata: {") && events.contains("\"state\":\"done\""), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resume_needs_no_argument_and_a_step_can_be_redone() {
    const TEST: &str = "resume_needs_no_argument_and_a_step_can_be_redone";
    let Some((recording, folder)) = recording(TEST, &NETWORKS) else { return };
    let server = Scripted::start().await;
    server.refuses_the_key();
    let up = TestServer::start(&with_audio(&folder, Some(&server.providers()))).await;
    let book = add_book(&up, &recording).await;
    let (_, book_now) = resume(&up, &book, json!({"wait_seconds": 0})).await;
    assert_eq!(book_now["status"], "processing", "{book_now}");
    let stuck = eventually(&up, &book, "is stuck", |progress| progress["cause"]["code"] == "providers_off").await;
    assert!(stuck["cause"]["action"].as_str().unwrap().contains("enable one"), "{stuck}");
    let providers = body_of(admin(&up, Method::GET, "/v1/providers?task=transcribe").send().await.unwrap()).await;
    assert_eq!((&providers["items"][0]["name"], &providers["items"][0]["state"]), (&json!("scripted"), &json!("off")));

    server.answers("Ask not what your country can do for you.");
    let enabled = admin(&up, Method::POST, "/v1/providers/scripted/enable").send().await.unwrap();
    assert_eq!(body_of(enabled).await["state"], "ready");
    let (status, done) = resume(&up, &book, json!({})).await;
    assert_eq!((status, done["status"].as_str()), (StatusCode::OK, Some("ready")), "{done}");
    let asked = server.requests();

    let (status, done) = resume(&up, &book, json!({"from": "summarise", "group": "local"})).await;
    assert_eq!((status, done["status"].as_str()), (StatusCode::OK, Some("ready")), "{done}");
    let progress = eventually(&up, &book, "is done", |progress| progress["state"] == "done").await;
    assert_eq!(progress["generation"], 2);
    assert_eq!(server.requests(), asked, "the text is not asked for again");
    let (status, refused) = resume(&up, &book, json!({"group": "nobody"})).await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("invalid")));

    let tried = admin(&up, Method::POST, "/v1/providers/scripted/probe").send().await.unwrap();
    let tried = body_of(tried).await;
    assert_eq!(tried["trial"]["works"], true, "{tried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_book_goes_on_after_a_kill() {
    let Some((recording, folder)) = recording("a_book_goes_on_after_a_kill", &NETWORKS) else { return };
    let server = Scripted::start().await;
    server.hangs();
    let mut up = TestServer::start(&with_audio(&folder, Some(&server.providers()))).await;
    let book = add_book(&up, &recording).await;
    resume(&up, &book, json!({"wait_seconds": 0})).await;
    let begun = Instant::now();
    while server.requests() == 0 {
        assert!(begun.elapsed() < TIMEOUT, "{}", up.process.output());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    up.process.kill_and_restart();
    wait_until_ready(&mut up.process, &up.url).await;
    server.answers("Ask not what your country can do for you.");
    // Nobody asks for it: what a dead worker had is due again after half a minute.
    eventually(&up, &book, "is done", |progress| progress["state"] == "done").await;
    let words = admin(&up, Method::GET, &format!("/v1/books/{book}/transcript.txt")).send().await.unwrap();
    assert_eq!(words.text().await.unwrap(), "Ask not what your country can do for you.\n");
}
