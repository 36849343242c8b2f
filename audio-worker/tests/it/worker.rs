//! The worker on a log, a database and a media store, with a provider by script and without models.

mod test_pipeline;

use std::time::Duration;

use contracts::{BookStatus, MediaStep, PipelineState, TopicRole, groups};
use store::relational::WindowState;
use testing::eventually;

use self::test_pipeline::{TestPipeline, euros};
use crate::providers::fake_server::{FakeServer, Reply, SENTENCE, Seen};

/// Three windows of ten seconds, in milliseconds.
const WINDOWS: [(u64, u64); 3] = [(0, 10_000), (10_000, 20_000), (40_000, 50_000)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_window_becomes_text_and_a_missing_model_says_what_to_do() {
    let (server, book) = (FakeServer::always(Reply::text(SENTENCE)).await, TestPipeline::new(euros(12)).await);
    book.planned(&WINDOWS).await;
    let worker = book.worker(&server);
    eventually("the step after the transcription ends", async || {
        let known = book.record().await;
        known.step == MediaStep::Summarise && known.state == PipelineState::Failed
    })
    .await;
    let segments = book.pipelines.transcript(book.id).await.unwrap().unwrap();
    let starts: Vec<u64> = segments.iter().map(|segment| segment.start_ms).collect();
    assert_eq!(starts, [0, 10_000, 40_000]);
    assert!(segments.iter().all(|segment| segment.text == SENTENCE && segment.provider.as_deref() == Some("scripted")));
    assert_eq!(server.requests(), WINDOWS.len(), "no window is transcribed twice");

    let status = book.pipelines.status(book.id).await.unwrap().unwrap();
    let cause = status.cause.unwrap();
    assert_eq!(cause.code, "model_missing");
    assert!(cause.action.contains("sightline models pull"), "{cause:?}");
    eventually("all messages are finished", async || {
        let progress = book.log().progress(TopicRole::MediaTasks, groups::AUDIO_WORKER).await;
        progress.is_ok_and(|progress| progress.waiting == 0)
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_only_the_windows_in_flight_are_done_again() {
    let first_answers = |number: usize, _: &Seen| if number == 0 { Reply::text(SENTENCE) } else { Reply::Hang };
    let (server, book) = (FakeServer::start(first_answers).await, TestPipeline::new(euros(12)).await);
    book.planned(&WINDOWS).await;
    let worker = book.worker(&server);
    eventually("one window is done and two are in flight", async || {
        book.record().await.windows_done == 1 && server.requests() == 3
    })
    .await;
    worker.crash().await;

    server.answers(Reply::text(SENTENCE));
    let worker = book.worker(&server);
    book.clock.advance(Duration::from_secs(31));
    eventually("the transcription is done", async || book.record().await.step == MediaStep::Summarise).await;
    assert_eq!(server.requests(), 5, "one that was done, two that hung, and these again");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_wait_for_a_cooldown_all_go_on_after_it() {
    let cooling = Reply::status(429).with("retry-after", 5);
    let (server, book) = (FakeServer::always(cooling).await, TestPipeline::new(euros(12)).await);
    book.planned(&WINDOWS).await;
    let worker = book.worker(&server);
    eventually("the book waits", async || book.record().await.cause.as_deref() == Some("cooling")).await;
    server.answers(Reply::text(SENTENCE));
    book.clock.advance(Duration::from_secs(6));
    // One of them tries the provider, and the others must not wait for as long as a trial may take.
    eventually("one is done", async || book.record().await.windows_done > 0).await;
    book.clock.advance(Duration::from_secs(6));
    eventually("the transcription is done", async || book.record().await.step == MediaStep::Summarise).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_nobody_can_take_is_not_read_again() {
    let cooling = Reply::status(429).with("retry-after", 3_600);
    let (server, book) = (FakeServer::always(cooling).await, TestPipeline::new(euros(12)).await);
    book.planned(&WINDOWS).await;
    let all_wait = async |taken: u32| {
        let windows = book.windows().await;
        windows.iter().all(|window| window.state == WindowState::Due && window.taken >= taken)
    };
    let worker = book.worker(&server);
    eventually("all windows wait", async || all_wait(1).await).await;
    worker.stop().await;

    book.lose_files();
    book.pipelines.wake_waiting().await.unwrap();
    let worker = book.worker(&server);
    eventually("all windows wait again", async || all_wait(2).await).await;
    let causes: Vec<_> = book.windows().await.into_iter().map(|window| window.cause).collect();
    assert_eq!(causes, vec![Some("cooling".to_owned()); 3], "whoever had read the file would have failed");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_replaced_is_not_transcribed_as_the_one_before() {
    let (server, book) = (FakeServer::always(Reply::text(SENTENCE)).await, TestPipeline::new(euros(12)).await);
    book.planned(&WINDOWS).await;
    book.put_master(b"another file").await;
    let worker = book.worker(&server);
    eventually("the book waits", async || {
        let known = book.record().await;
        known.state == PipelineState::Waiting && known.cause.as_deref() == Some("file_unreadable")
    })
    .await;
    assert_eq!(server.requests(), 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_becomes_ready_when_it_has_its_preview() {
    let (server, book) = (FakeServer::always(Reply::status(500)).await, TestPipeline::new(euros(12)).await);
    book.at(MediaStep::Publish).await;
    let worker = book.worker(&server);
    eventually("the book waits for its preview", async || {
        book.record().await.cause.as_deref() == Some("preview_pending")
    })
    .await;
    assert_eq!(book.status().await, BookStatus::Processing);
    book.put_preview().await;
    book.clock.advance(Duration::from_secs(3));
    eventually("the work on the book is done", async || book.record().await.state == PipelineState::Done).await;
    assert_eq!(book.status().await, BookStatus::Ready);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_without_a_price_says_what_it_lacks() {
    let (server, book) = (FakeServer::always(Reply::status(500)).await, TestPipeline::new(None).await);
    book.put_preview().await;
    book.at(MediaStep::Publish).await;
    let worker = book.worker(&server);
    eventually("the step fails", async || book.record().await.state == PipelineState::Failed).await;
    let known = book.record().await;
    assert_eq!((known.cause.as_deref(), known.detail.as_deref()), (Some("incomplete"), Some("no price")));
    assert_eq!(book.status().await, BookStatus::Draft);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_that_an_admin_has_hidden_stays_hidden() {
    let (server, book) = (FakeServer::always(Reply::status(500)).await, TestPipeline::new(euros(12)).await);
    book.put_preview().await;
    book.set_status(BookStatus::Hidden).await;
    book.at(MediaStep::Publish).await;
    let worker = book.worker(&server);
    eventually("the work on the book is done", async || book.record().await.state == PipelineState::Done).await;
    assert_eq!(book.status().await, BookStatus::Hidden);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_of_a_worker_are_known_and_tried_for_admins() {
    let (server, book) = (FakeServer::always(Reply::text(SENTENCE)).await, TestPipeline::new(None).await);
    let worker = book.worker(&server);
    let (task, database) = (MediaStep::Transcribe, book.pipelines.database());
    eventually("the worker has told of its providers", async || {
        let listed = database.listed_providers(task, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        listed.iter().any(|provider| provider.name == "scripted" && provider.kind == "openai")
    })
    .await;
    assert!(database.want_trial(task, "scripted", book.clock.now()).await.unwrap());
    eventually("a worker has tried it", async || {
        let listed = database.listed_providers(task, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        listed.iter().any(|provider| provider.trial.as_ref().is_some_and(|trial| trial.works))
    })
    .await;
    assert_eq!(server.requests(), 1);
    worker.stop().await;
}
