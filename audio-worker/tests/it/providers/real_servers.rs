//! The same jobs for Whisper in the process and for real servers, which `scripts/audio-check` starts. A test whose server has no address prints
//! that it is skipped.

use audio_worker::providers::DescribeJob;

use super::describing::book;
use super::test_worker::{TestWorker, done, entry};
use crate::models::setup;
use crate::words::{JFK, word_errors};

/// Address and model of a server: `VARIABLE_URL` and `VARIABLE_MODEL`.
fn server(test: &str, variable: &str) -> Option<(String, String)> {
    let url = std::env::var(format!("{variable}_URL")).ok();
    let model = std::env::var(format!("{variable}_MODEL")).ok();
    if url.is_none() || model.is_none() {
        println!("skipped: {test}: {variable}_URL is not set");
    }
    url.zip(model)
}

/// A worker whose only provider of speech is `provider` transcribes the sentence of the President, and stays well.
async fn transcribes(worker: &TestWorker, samples: Vec<f32>) {
    let mut window = worker.window(0, 0.0);
    window.samples = samples.into();
    let answer = done(worker.providers.transcribe(&window).await.unwrap());
    let text: Vec<&str> = answer.segments.iter().map(|segment| &*segment.text).collect();
    assert_eq!(word_errors(JFK, &text.join(" ")), 0, "{text:?}");
    assert_eq!(answer.flag, None);
    assert!(answer.segments.iter().all(|segment| segment.start_ms <= segment.end_ms && segment.end_ms <= 11_000));
    assert!(answer.checkpoint.is_some());
    let calls = worker.calls().await;
    assert!(calls.iter().all(|call| call.state.as_str() == "settled"), "{calls:?}");
    assert_eq!(calls.last().unwrap().outcome.as_deref(), Some("done"));
    let probe = worker.providers.probe(&answer.provider).await.unwrap().unwrap();
    assert!(probe.works, "{probe:?}");
}

fn file(transcribe: &str) -> String {
    format!("transcribe:\n{transcribe}describe:\n  - {{name: extract, group: local, kind: extract}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn whisper_in_the_process_is_a_provider() {
    let Some(setup) = setup("whisper_in_the_process_is_a_provider") else { return };
    let here = file("  - {name: here, group: local, kind: whisper, model: whisper-tiny.en}\n");
    let worker = TestWorker::with_engine(&here, Ok(setup.engine.clone())).await;
    assert_eq!(worker.providers.missing(), None);
    transcribes(&worker, setup.jfk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_of_speech_is_a_provider() {
    let test = "a_real_server_of_speech_is_a_provider";
    let (Some((url, model)), Some(setup)) = (server(test, "SIGHTLINE_TEST_SPEECH"), setup(test)) else { return };
    let entry = entry("server", &url, "").replace("model: m", &format!("model: \"{model}\""));
    let worker = TestWorker::new(&file(&entry)).await;
    transcribes(&worker, setup.jfk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_language_model_describes_or_is_replaced() {
    let test = "a_real_language_model_describes_or_is_replaced";
    let Some((url, model)) = server(test, "SIGHTLINE_TEST_LANGUAGE_MODEL") else { return };
    let text = format!(
        "transcribe:\n  - {{name: here, group: local, kind: whisper, model: m}}\ndescribe:\n{}  - {{name: extract, group: local, kind: extract}}\n",
        entry("server", &url, ", context_tokens: 2048").replace("model: m", &format!("model: \"{model}\""))
    );
    let worker = TestWorker::new(&text).await;
    let (sentences, embeddings) = book();
    let categories = Vec::new();
    let job = DescribeJob {
        book: worker.book,
        generation: 1,
        title: "Sense and Sensibility",
        author: "Jane Austen",
        language: Some("en"),
        sentences,
        embeddings,
        categories: &categories,
        group: None,
        budget_micro: None,
    };
    let described = done(worker.providers.describe(&job).await.unwrap());
    let length = described.text.map(|text| text.chars().count()).unwrap_or_default();
    assert!((200..=330).contains(&length), "{length} characters by {}", described.provider);
    let calls = worker.calls().await;
    let is_counted = |call: &store::relational::CallRecord| call.tokens_in.is_some() && call.tokens_out.is_some();
    assert!(calls.iter().any(|call| call.call.provider == "server" && is_counted(call)), "{calls:?}");
    assert!(calls.iter().all(|call| call.state.as_str() == "settled"), "{calls:?}");
    assert!(worker.providers.probe("server").await.unwrap().unwrap().works);
}
