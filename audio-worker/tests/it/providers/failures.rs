//! Servers that hang, answer nonsense, or answer what nobody said.

use std::time::{Duration, Instant};

use contracts::TranscriptFlag;
use media::codes;
use serde_json::json;

use super::fake_server::{FakeServer, Reply, SENTENCE, until_hung_up};
use super::test_worker::{TestWorker, audio, done, entry, failed};

const HASTY: &str = ", timeout: {base: 1s, per_audio_second: 0s}";
const GERMAN: &str = "Fragt nicht, was euer Land für euch tun kann, fragt, was ihr für euer Land tun könnt. Meine Mitbürger in der \
    ganzen Welt, fragt nicht, was Amerika für euch tun wird, sondern was wir gemeinsam für die Freiheit der Menschen tun können.";

async fn two(a: &FakeServer, more: &str, b: &FakeServer) -> TestWorker {
    TestWorker::new(&audio(&[entry("a", &a.url(), more), entry("b", &b.url(), "")])).await
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_its_call_cancelled() {
    let (a, b) = (FakeServer::always(Reply::Hang).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = two(&a, HASTY, &b).await;
    let began = Instant::now();
    assert_eq!(worker.done(0).await.provider, "b");
    assert!((1..3).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    until_hung_up(&a, 1).await;
    let calls = worker.calls().await;
    assert_eq!(calls[0].outcome.as_deref(), Some("timed_out"));
}

#[tokio::test]
async fn the_time_limit_grows_with_the_audio() {
    let a = FakeServer::always(Reply::Hang).await;
    let more = ", timeout: {base: 1s, per_audio_second: 100ms}";
    let worker = TestWorker::new(&audio(&[entry("a", &a.url(), more)])).await;
    let window = worker.window(0, 20.0);
    let running = worker.providers.transcribe(&window);
    let waited = tokio::time::timeout(Duration::from_millis(2_500), running).await;
    assert!(waited.is_err() && a.requests() == 1, "3 s for 20 s of audio");
}

#[tokio::test]
async fn a_job_that_is_dropped_cancels_its_call() {
    let a = FakeServer::always(Reply::Hang).await;
    let worker = TestWorker::new(&audio(&[entry("a", &a.url(), "")])).await;
    let window = worker.window(0, 10.0);
    tokio::select! {
        outcome = worker.providers.transcribe(&window) => assert!(outcome.is_err(), "it ended"),
        () = async { while a.requests() == 0 { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
    }
    until_hung_up(&a, 1).await;
    assert_eq!(worker.calls().await[0].state.as_str(), "reserved");
}

#[tokio::test]
async fn an_answer_of_no_use_is_a_failure_in_words() {
    for (reply, says) in [
        (Reply::body(200, "<!doctype html><title>Sign in</title>"), "its answer is an HTML page"),
        (Reply::body(200, r#"{"text": "Ask not what"#), "its answer is half a JSON document"),
        (Reply::Half(r#"{"text": "Ask not what your country"#.to_owned()), "the connection broke"),
        (Reply::json(&json!({"transcription": SENTENCE})), "its answer has no text"),
        (Reply::body(200, ""), "its answer is empty"),
        (Reply::body(302, "").with("location", "http://127.0.0.1:1/"), "a redirect"),
        (Reply::body(404, r#"{"error": {"message": "no such model"}}"#), "no such model; check base_url and model"),
    ] {
        let (a, b) = (FakeServer::always(reply).await, FakeServer::always(Reply::text(SENTENCE)).await);
        let worker = two(&a, "", &b).await;
        assert_eq!(worker.done(0).await.provider, "b", "{says}");
        let alone = TestWorker::new(&audio(&[entry("a", &a.url(), "")])).await;
        let (code, detail, _) = alone.waits(0).await;
        assert_eq!(code, codes::COOLING);
        assert!(detail.contains(says), "{detail}");
        assert_eq!(a.requests(), 4, "three failures in a row cool it");
    }
}

#[tokio::test]
async fn a_text_in_the_wrong_language_is_asked_for_elsewhere() {
    let (a, b) = (FakeServer::always(Reply::text(GERMAN)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = two(&a, "", &b).await;
    let answer = worker.done(0).await;
    assert_eq!((answer.provider.as_str(), answer.flag), ("b", None));
    let temperatures: Vec<_> = a.seen().iter().filter_map(|seen| seen.field("temperature")).collect();
    assert_eq!(temperatures, ["0", "0.2"]);
    b.answers(Reply::status(415));
    let kept = worker.done(1).await;
    assert_eq!((kept.provider.as_str(), kept.flag), ("a", Some(TranscriptFlag::WrongLanguage)));
    assert_eq!(kept.segments[0].flag, Some(TranscriptFlag::WrongLanguage));
    assert_eq!(worker.state("a").await.and_then(|state| state.cools_until), None);
}

#[tokio::test]
async fn a_loop_is_asked_for_again_at_another_temperature() {
    let endless = "and then he said ".repeat(15);
    let a = FakeServer::start(move |number, _| Reply::text(if number == 0 { &endless } else { SENTENCE })).await;
    let worker = TestWorker::new(&audio(&[entry("a", &a.url(), "")])).await;
    let answer = worker.done(0).await;
    assert_eq!((answer.flag, answer.segments[0].text.as_str(), a.requests()), (None, SENTENCE, 2));
}

/// Words that a server invents, and itself takes for silence.
fn invented() -> serde_json::Value {
    json!({"start": 8, "end": 9, "text": "Thank you for watching.", "no_speech_prob": 0.9, "avg_logprob": -1.4})
}

#[tokio::test]
async fn what_a_server_itself_takes_for_silence_is_nothing() {
    let a = FakeServer::always(Reply::json(&json!({"text": "Thank you.", "segments": [invented()]}))).await;
    let worker = TestWorker::new(&audio(&[entry("a", &a.url(), "")])).await;
    let answer = worker.done(0).await;
    assert!(answer.segments.is_empty(), "{answer:?}");
    assert_eq!((answer.flag, a.requests()), (Some(TranscriptFlag::NoSpeech), 2), "it was asked again");
}

#[tokio::test]
async fn one_segment_of_silence_asks_again_and_then_elsewhere() {
    let spoken = json!({"start": 0, "end": 7, "text": SENTENCE, "no_speech_prob": 0.1, "avg_logprob": -0.2});
    let mixed = json!({"text": SENTENCE, "segments": [spoken, invented()]});
    let (a, b) = (FakeServer::always(Reply::json(&mixed)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = two(&a, "", &b).await;
    let answer = worker.done(0).await;
    assert_eq!((answer.provider.as_str(), answer.flag, a.requests()), ("b", None, 2));
    // If nobody has a better one, the words are kept, and the silence is not.
    b.answers(Reply::status(415));
    let kept = worker.done(1).await;
    assert_eq!((kept.provider.as_str(), kept.flag), ("a", Some(TranscriptFlag::NoSpeech)));
    let texts: Vec<&str> = kept.segments.iter().map(|segment| segment.text.as_str()).collect();
    assert_eq!(texts, [SENTENCE]);
}

#[tokio::test]
async fn a_text_that_no_window_can_hold_is_not_kept() {
    let a = FakeServer::always(Reply::text(&SENTENCE.repeat(1_000))).await;
    let worker = TestWorker::new(&audio(&[entry("a", &a.url(), "")])).await;
    let cause = failed(worker.transcribe(0).await);
    assert_eq!(cause.code, codes::WINDOW_REFUSED);
    assert!(cause.detail.contains("larger than a window can hold"), "{cause:?}");
}

#[tokio::test]
async fn a_window_that_is_too_large_for_a_server_is_not_sent() {
    let (a, b) = (FakeServer::always(Reply::text(SENTENCE)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = two(&a, ", max_bytes: 64KiB", &b).await;
    assert_eq!(worker.done(0).await.provider, "b");
    assert_eq!(a.requests(), 0);
    a.answers(Reply::text("Ask not."));
    let short = worker.window(1, 1.0);
    assert_eq!(done(worker.providers.transcribe(&short).await.unwrap()).provider, "a");
}

#[tokio::test]
async fn calls_at_the_same_time_are_bounded() {
    let a = FakeServer::always(Reply::Hang).await;
    let worker = TestWorker::new(&audio(&[entry("a", &a.url(), ", concurrency: 2")])).await;
    let windows = futures::future::join_all((0..5).map(|window| worker.transcribe(window)));
    assert!(tokio::time::timeout(Duration::from_millis(500), windows).await.is_err());
    assert_eq!(a.requests(), 2);
}
