//! What is asked of servers, and what is left out for those that do not know it.

use serde_json::json;

use super::fake_server::{FakeServer, Reply, SENTENCE};
use super::test_worker::{TestWorker, audio, entry};

#[tokio::test]
async fn a_window_is_sent_as_openai_documents_it() {
    let server = FakeServer::always(Reply::json(&json!({
        "text": SENTENCE, "language": "english",
        "segments": [{"start": 0.5, "end": 4.0, "text": SENTENCE}],
        "words": [{"word": "Ask", "start": 0.5, "end": 0.8}],
    })))
    .await;
    let worker = TestWorker::new(&audio(&[entry("a", &server.url(), "")])).await;
    let answer = worker.done(0).await;
    let seen = server.seen().remove(0);
    assert_eq!(seen.path, "/v1/audio/transcriptions");
    assert_eq!(seen.authorization, None);
    for (field, value) in
        [("model", "m"), ("language", "en"), ("response_format", "verbose_json"), ("temperature", "0")]
    {
        assert_eq!(seen.field(field).as_deref(), Some(value), "{field}");
    }
    assert_eq!(seen.field("timestamp_granularities[]").as_deref(), Some("segment"));
    assert_eq!(seen.audio_ms(), Some(10_000));
    let segment = &answer.segments[0];
    assert_eq!((segment.start_ms, segment.end_ms, segment.words.len()), (500, 4_000, 1));
    assert_eq!((&segment.provider, &segment.model), (&None, &None));
}

#[tokio::test]
async fn words_that_a_server_does_not_give_are_not_missed() {
    let server = FakeServer::always(Reply::text(SENTENCE)).await;
    let worker = TestWorker::new(&audio(&[entry("a", &server.url(), "")])).await;
    let answer = worker.done(0).await;
    let segment = &answer.segments[0];
    assert_eq!((segment.start_ms, segment.end_ms, segment.words.len()), (0, 10_000, 0));
}

#[tokio::test]
async fn a_field_that_a_server_refuses_is_left_out_from_then_on() {
    let server = FakeServer::start(|_, seen| {
        if seen.field("timestamp_granularities[]").is_some() {
            return Reply::body(422, "timestamp_granularities[] is not supported");
        }
        if seen.field("response_format").as_deref() != Some("json") {
            return Reply::body(400, r#"{"error": {"message": "response_format 'verbose_json' is not compatible"}}"#);
        }
        Reply::text(SENTENCE)
    })
    .await;
    let worker = TestWorker::new(&audio(&[entry("a", &server.url(), "")])).await;
    worker.done(0).await;
    assert_eq!(server.requests(), 3);
    worker.done(1).await;
    assert_eq!(server.requests(), 4, "it is not asked in vain again");
    assert_eq!(worker.state("a").await.and_then(|state| state.cools_until), None);
}
