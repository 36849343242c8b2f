//! The engine on windows, and what it says when it cannot work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audio_worker::speech::{Engine, SpeechArgs, SpeechOptions, check_cpu, gate};

use crate::models::{english, setup, tools};
use crate::words::{JFK, word_errors};

#[tokio::test(flavor = "multi_thread")]
async fn known_recordings_have_no_word_errors() {
    let Some(setup) = setup("known_recordings_have_no_word_errors") else { return };
    let said = "but with full ravishment the hours of prime singing received they in the midst of leaves that ever bore a burden to \
        their rhymes";
    for (name, said) in [("jfk.wav", JFK), ("84-121550-0000.flac", said)] {
        let transcript = setup.transcribe(&setup.sample(name)).await.unwrap();
        assert_eq!(word_errors(said, &transcript.text()), 0, "{name}: {}", transcript.text());
        let end = transcript.segments.last().unwrap().end_ms;
        assert!(end <= transcript.duration_ms, "{name}: {end} of {} ms", transcript.duration_ms);
        assert!(transcript.segments.iter().all(|segment| segment.flag.is_none()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_has_the_same_words_whatever_came_before() {
    let Some(setup) = setup("a_window_has_the_same_words_whatever_came_before") else { return };
    let jfk: Arc<[f32]> = setup.jfk().into();
    let short: Arc<[f32]> = jfk[..5 * 16_000].into();
    let options = english();
    for temperature in [0.0, 0.2, 0.8] {
        let first = setup.engine.attempt(Arc::clone(&jfk), &options, temperature).await.unwrap();
        for _ in 0..2 {
            setup.engine.attempt(Arc::clone(&short), &options, temperature).await.unwrap();
        }
        let others = (0..3).map(|_| setup.engine.attempt(Arc::clone(&jfk), &options, temperature));
        for again in futures::future::join_all(others).await {
            assert_eq!(again.unwrap(), first, "at {temperature}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_have_times_within_their_segment() {
    let Some(setup) = setup("words_have_times_within_their_segment") else { return };
    let options = SpeechOptions { words: true, ..english() };
    let judged = setup.engine.transcribe(setup.jfk().into(), &options).await.unwrap();
    assert_eq!(judged.flag, None);
    for segment in &judged.heard.segments {
        let words: Vec<&str> = segment.words.iter().map(|word| &*word.text).collect();
        assert_eq!(words.join(" "), segment.text);
        let mut earliest = segment.start;
        for word in &segment.words {
            assert!(earliest <= word.start && word.start <= word.end && word.end <= segment.end, "{word:?}");
            earliest = word.start;
        }
    }
    assert!(judged.heard.segments.last().unwrap().end <= Duration::from_secs(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_nobody_waits_for_makes_way() {
    let Some(setup) = setup("a_window_that_nobody_waits_for_makes_way") else { return };
    let args = SpeechArgs { speech_sessions: Some(1), ..SpeechArgs::default() };
    let engine = Engine::new(&args, &setup.tools.folder, &setup.tools.runtime).unwrap();
    let jfk = setup.jfk();
    engine.attempt(jfk.clone().into(), &english(), 0.0).await.unwrap();
    let began = std::time::Instant::now();
    // Some twenty times the work of the sentence alone.
    let long: Arc<[f32]> = jfk.repeat(40).into();
    let given_up = tokio::time::timeout(Duration::from_millis(100), engine.attempt(long, &english(), 0.0)).await;
    assert!(given_up.is_err());
    let heard = engine.attempt(jfk.clone().into(), &english(), 0.0).await.unwrap();
    let with_cancelled = began.elapsed();
    let began = std::time::Instant::now();
    engine.attempt(jfk.into(), &english(), 0.0).await.unwrap();
    assert!(with_cancelled < 6 * began.elapsed() + Duration::from_secs(1), "{with_cancelled:?}");
    assert_eq!(word_errors(JFK, &heard.text()), 0);
    assert_eq!(gate::fault(&heard, Duration::from_secs(11)), None);
}

#[test]
fn a_missing_model_says_what_to_run() {
    if let Err(error) = check_cpu() {
        println!("skipped: a_missing_model_says_what_to_run: {error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(folder.path());
    let error = Engine::new(&SpeechArgs::default(), &tools.folder, &tools.runtime).err().unwrap().to_string();
    assert!(error.contains("sightline models pull whisper-tiny.en"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_that_the_model_does_not_know_is_refused() {
    let Some(setup) = setup("a_language_that_the_model_does_not_know_is_refused") else { return };
    let tiny = Path::new("ggml-tiny.en-f16.bin");
    let link = setup.folder.path().join(tiny);
    std::os::unix::fs::symlink(setup.tools.folder.dir().join(tiny), link).unwrap();
    let tools = tools(setup.folder.path());
    let engine = Engine::new(&SpeechArgs::default(), &tools.folder, &tools.runtime).unwrap();
    let with = |language: &str| SpeechOptions { language: Some(language.to_owned()), ..SpeechOptions::default() };
    let error = engine.model(&with("de")).unwrap_err().to_string();
    assert!(error.contains("sightline models pull whisper-base"), "{error}");
    assert!(engine.model(&with("Klingon")).unwrap_err().to_string().contains("ISO 639-1"));
    assert_eq!(engine.model(&with("en-US")).unwrap().name, "whisper-tiny.en");
    let other = SpeechOptions { model: Some("whisper-large".to_owned()), ..SpeechOptions::default() };
    assert!(engine.model(&other).unwrap_err().to_string().contains("whisper-tiny.en"));
}
