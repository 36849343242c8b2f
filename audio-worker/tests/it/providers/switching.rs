//! Providers that are switched in the middle of a job.

use contracts::MediaStep;
use media::codes;

use super::fake_server::{FakeServer, Reply, SENTENCE};
use super::test_worker::{TestWorker, audio, done, entry, failed};

async fn worker_with(a: &FakeServer, b: &FakeServer) -> TestWorker {
    let b = entry("b", &b.url(), "").replace("group: local", "group: cloud");
    TestWorker::new(&audio(&[entry("a", &a.url(), ""), b])).await
}

/// Does a window and stores its checkpoint, as the end of a window does.
async fn store(worker: &TestWorker, number: u32, group: Option<&str>) -> String {
    let mut window = worker.window(number, 10.0);
    window.group = group;
    let answer = done(worker.providers.transcribe(&window).await.unwrap());
    if let Some(checkpoint) = &answer.checkpoint {
        worker.registry.put_checkpoint(checkpoint).await.unwrap();
    }
    answer.provider
}

#[tokio::test]
async fn providers_switch_in_the_middle_and_no_window_is_redone() {
    let (a, b) = (FakeServer::always(Reply::text(SENTENCE)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = worker_with(&a, &b).await;
    for window in 0..5 {
        assert_eq!(store(&worker, window, None).await, "a");
    }
    let order = ["b".to_owned(), "a".to_owned()];
    worker.database.set_provider_order(MediaStep::Transcribe, &order, None, worker.clock.now()).await.unwrap();
    for window in 5..10 {
        assert_eq!(store(&worker, window, None).await, "b");
    }
    assert_eq!((a.requests(), b.requests()), (5, 5));
    // A window that comes again, as after a crash, has its checkpoint.
    for window in 5..10 {
        assert_eq!(store(&worker.other(), window, None).await, "b");
    }
    assert_eq!((a.requests(), b.requests()), (5, 5));
}

#[tokio::test]
async fn a_book_may_ask_for_a_group() {
    let (a, b) = (FakeServer::always(Reply::text(SENTENCE)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = worker_with(&a, &b).await;
    assert_eq!(store(&worker, 0, Some("cloud")).await, "b");
    assert_eq!(store(&worker, 1, Some("local")).await, "a");
    let mut window = worker.window(2, 10.0);
    window.group = Some("moon");
    let cause = failed(worker.providers.transcribe(&window).await.unwrap());
    assert_eq!(cause.code, codes::NO_PROVIDER);
    assert!(cause.detail.contains("\"moon\"") && cause.detail.contains("local, cloud"), "{cause:?}");
}

#[tokio::test]
async fn a_provider_that_an_admin_switches_off_is_not_called() {
    let (a, b) = (FakeServer::always(Reply::text(SENTENCE)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = worker_with(&a, &b).await;
    let switch = async |name: &str, on: bool| {
        let now = worker.clock.now();
        worker.database.set_provider_enabled(MediaStep::Transcribe, name, on, None, now).await.unwrap();
    };
    switch("a", false).await;
    assert_eq!(worker.done(0).await.provider, "b");
    switch("b", false).await;
    let (code, ..) = worker.waits(1).await;
    assert_eq!(code, codes::PROVIDERS_OFF);
    switch("a", true).await;
    assert_eq!(worker.done(1).await.provider, "a");
}

#[tokio::test]
async fn a_stored_window_is_there_while_everybody_cools() {
    let (a, b) = (FakeServer::always(Reply::text(SENTENCE)).await, FakeServer::always(Reply::status(402)).await);
    let worker = worker_with(&a, &b).await;
    store(&worker, 0, None).await;
    a.answers(Reply::status(402));
    worker.waits(1).await;
    assert_eq!(store(&worker, 0, None).await, "a");
    assert_eq!((a.requests(), b.requests()), (2, 1));
}

#[tokio::test]
async fn a_doubtful_text_is_bettered_by_a_provider_that_is_added() {
    let endless = "and then he said ".repeat(15);
    let (a, b) = (FakeServer::always(Reply::text(&endless)).await, FakeServer::always(Reply::status(415)).await);
    let other = entry("b", &b.url(), "").replace("model: m", "model: another");
    let worker = TestWorker::new(&audio(&[entry("a", &a.url(), ""), other])).await;
    assert_eq!(store(&worker, 0, None).await, "a");
    assert_eq!((a.requests(), b.requests()), (2, 1), "nobody has a good one");
    b.answers(Reply::text(SENTENCE));
    assert_eq!(store(&worker, 0, None).await, "b");
    assert_eq!((a.requests(), b.requests()), (2, 2), "what is known to be doubtful is not paid for again");
    let kept = done(worker.providers.transcribe(&worker.window(0, 10.0)).await.unwrap());
    assert_eq!((kept.provider.as_str(), kept.flag), ("b", None));
}

#[tokio::test]
async fn whisper_without_its_model_waits_for_a_worker_that_has_it() {
    let file = "transcribe:\n  - {name: here, group: local, kind: whisper, model: whisper-tiny.en}\n\
        describe:\n  - {name: extract, group: local, kind: extract}\n";
    let worker = TestWorker::new(file).await;
    let (code, detail, _) = worker.waits(0).await;
    assert_eq!(code, codes::SPEECH_UNAVAILABLE);
    assert!(detail.contains("here: this test has no models"), "{detail}");
    assert!(worker.providers.missing().unwrap().contains("here"));
    assert!(worker.providers.listed()[0].missing.is_some());
}
