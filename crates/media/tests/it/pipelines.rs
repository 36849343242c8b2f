//! A book from its upload to its end, with faults.

use std::cell::Cell;
use std::time::Duration;

use contracts::{BookId, MediaStep, MediaTask, PipelineState};
use media::{Cause, MAX_CRASHES, MediaError, Request, codes};

use super::{FILE, Fixture};

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_book_goes_from_its_upload_to_its_end() {
    let fixture = Fixture::new().await;
    let book = fixture.add_book().await;
    assert!(fixture.pipelines.status(book).await.unwrap().is_none());
    let waiting = fixture.pipelines.start(book, None, None).await.unwrap();
    assert_eq!((waiting.step, waiting.state), (MediaStep::Upload, PipelineState::Waiting));
    let status = fixture.pipelines.status(book).await.unwrap().unwrap();
    assert_eq!(status.cause.unwrap().action, "upload one, and resume");

    fixture.pipelines.resume(book, FILE, &Request::default(), None).await.unwrap();
    fixture.work().await;

    let status = fixture.pipelines.status(book).await.unwrap().unwrap();
    assert_eq!((status.step, status.state), (MediaStep::Done, PipelineState::Done));
    assert_eq!((status.windows_done, status.windows_total, status.cause), (5, Some(5), None));
    let segments = fixture.pipelines.transcript(book).await.unwrap().unwrap();
    let said: Vec<(u64, &str)> = segments.iter().map(|segment| (segment.start_ms, &*segment.text)).collect();
    let expected = ["window 0", "window 1", "window 2", "window 3", "window 4"];
    assert_eq!(said, (0..5).map(|n| n * 1_000).zip(expected).collect::<Vec<_>>());
    assert_eq!(segments[0].provider.as_deref(), Some("here"));
}

#[tokio::test]
async fn a_fault_at_each_step_and_a_resume_end_alike() {
    let undisturbed = Fixture::new().await;
    let book = undisturbed.add_book().await;
    undisturbed.pipelines.start(book, FILE, None).await.unwrap();
    undisturbed.work().await;
    let expected = undisturbed.pipelines.transcript(book).await.unwrap();

    let fixture = Fixture::new().await;
    let book = fixture.add_book().await;
    fixture.pipelines.start(book, FILE, None).await.unwrap();
    for step in [MediaStep::Transcribe, MediaStep::Summarise, MediaStep::Publish] {
        // The windows of the transcription are done by others.
        let held = loop {
            let task = fixture.pipelines.claim_due().await.unwrap()[0];
            if let Some(held) = fixture.pipelines.take_step(&task).await.unwrap() {
                break held;
            }
            fixture.do_task(&task).await;
        };
        assert_eq!(held.step, step);
        fixture.pipelines.fail_step(&held, &Cause::new(codes::INTERNAL, "a fault")).await.unwrap().unwrap();
        let status = fixture.pipelines.status(book).await.unwrap().unwrap();
        assert_eq!(
            (status.state, status.cause.unwrap().message),
            (PipelineState::Failed, "the step failed: a fault".to_owned())
        );
        assert!(fixture.pipelines.claim_due().await.unwrap().is_empty(), "it waits for an admin");
        fixture.pipelines.resume(book, FILE, &Request::default(), None).await.unwrap();
        let held = fixture.take_due().await;
        if step == MediaStep::Transcribe {
            let windows: Vec<_> =
                (0..5).map(|n| media::Window { start: n * 16_000, end: n * 16_000 + 8_000 }).collect();
            fixture.pipelines.plan(&held, &windows).await.unwrap().unwrap();
            for task in fixture.pipelines.claim_due().await.unwrap() {
                fixture.do_task(&task).await;
            }
            let held = fixture.take_due().await;
            fixture.pipelines.finish_step(&held).await.unwrap().unwrap();
        } else {
            fixture.pipelines.finish_step(&held).await.unwrap().unwrap();
        }
    }
    assert_eq!(fixture.pipelines.status(book).await.unwrap().unwrap().state, PipelineState::Done);
    assert_eq!(fixture.pipelines.transcript(book).await.unwrap(), expected);
}

#[tokio::test]
async fn workers_that_end_lose_nothing_and_repeat_only_what_they_had() {
    let fixture = Fixture::new().await;
    let book = fixture.planned(20).await;
    let mut done = 0;
    for round in 0..40 {
        let tasks = fixture.pipelines.claim_due().await.unwrap();
        for (index, task) in tasks.iter().enumerate() {
            let Some(window) = fixture.pipelines.take_window(task).await.unwrap() else { continue };
            // Every third worker ends with its window; its time runs out.
            if (round + index) % 3 != 0 {
                assert!(fixture.finish(&window).await.is_some());
                done += 1;
            }
        }
        if done == 20 {
            break;
        }
        fixture.clock.advance(LEASE);
    }
    assert_eq!(done, 20, "each window is done once");
    let status = fixture.pipelines.status(book).await.unwrap().unwrap();
    assert_eq!((status.windows_done, status.step), (20, MediaStep::Transcribe));
    let held = fixture.take_due().await;
    assert!(held.are_windows_done());
    fixture.pipelines.finish_step(&held).await.unwrap().unwrap();
    assert_eq!(fixture.pipelines.transcript(book).await.unwrap().unwrap().len(), 20);
}

#[tokio::test]
async fn a_window_that_ends_every_worker_fails_its_book() {
    let fixture = Fixture::new().await;
    let book = fixture.planned(1).await;
    for _ in 0..MAX_CRASHES {
        let task = fixture.one_due().await;
        assert!(fixture.pipelines.take_window(&task).await.unwrap().is_some());
        fixture.clock.advance(LEASE);
    }
    let task = fixture.one_due().await;
    assert_eq!(fixture.pipelines.take_window(&task).await.unwrap(), None);
    let status = fixture.pipelines.status(book).await.unwrap().unwrap();
    let cause = status.cause.unwrap();
    assert_eq!((status.state, &*cause.code), (PipelineState::Failed, "crashed"));
    assert!(cause.message.ends_with("window 0 at 0 s"), "{}", cause.message);
    fixture.pipelines.resume(book, FILE, &Request::default(), None).await.unwrap();
    let task = fixture.one_due().await;
    let window = fixture.pipelines.take_window(&task).await.unwrap().unwrap();
    assert_eq!(window.crashes, 0);
}

#[tokio::test]
async fn an_admin_does_not_take_a_step_from_its_worker() {
    let fixture = Fixture::new().await;
    let book = fixture.add_book().await;
    fixture.pipelines.start(book, FILE, None).await.unwrap();
    let held = fixture.take_due().await;
    let again = fixture.pipelines.resume(book, FILE, &Request::default(), None).await.unwrap();
    assert_eq!(again, held, "nothing is written");
    let request = Request { group: Some(Some("cloud".to_owned())), ..Request::default() };
    fixture.pipelines.resume(book, FILE, &request, None).await.unwrap();
    fixture.clock.advance(Duration::from_secs(10));
    let renewed = fixture.pipelines.renew_step(&held).await.unwrap().unwrap();
    assert_eq!(renewed.group.as_deref(), Some("cloud"), "the worker learns of it");

    // Without a renewal somebody else gets it.
    fixture.clock.advance(LEASE);
    let taken = fixture.take_due().await;
    assert_eq!(taken.crashes, 1);
    assert_eq!(fixture.pipelines.renew_step(&renewed).await.unwrap(), None);
    assert_eq!(fixture.pipelines.finish_step(&renewed).await.unwrap(), None);
    assert!(fixture.pipelines.renew_step(&taken).await.unwrap().is_some());
}

#[tokio::test]
async fn a_late_worker_keeps_a_step_that_nobody_has_taken() {
    let fixture = Fixture::new().await;
    let book = fixture.add_book().await;
    fixture.pipelines.start(book, FILE, None).await.unwrap();
    let held = fixture.take_due().await;
    fixture.clock.advance(LEASE);
    let task = fixture.one_due().await;
    let renewed = fixture.pipelines.renew_step(&held).await.unwrap().unwrap();
    assert_eq!((renewed.state, renewed.crashes), (PipelineState::Running, 0));
    assert_eq!(fixture.pipelines.take_step(&task).await.unwrap(), None, "its worker goes on");
    // Also when it is done in the meantime.
    fixture.clock.advance(LEASE);
    fixture.one_due().await;
    assert!(fixture.pipelines.plan(&renewed, &[]).await.unwrap().is_some());
    assert_eq!(fixture.take_due().await.crashes, 0);
}

#[tokio::test]
async fn a_redo_serves_the_old_text_until_the_new_one_is_complete() {
    let fixture = Fixture::new().await;
    let book = fixture.add_book().await;
    fixture.pipelines.start(book, FILE, None).await.unwrap();
    fixture.work().await;
    let before = fixture.pipelines.transcript(book).await.unwrap();
    let redo = async |from| fixture.pipelines.redo(book, from, FILE, &Request::default(), None).await;
    let again = redo(MediaStep::Transcribe).await.unwrap();
    assert_eq!((again.generation, again.step), (2, MediaStep::Transcribe));
    assert_eq!(fixture.pipelines.transcript(book).await.unwrap(), before);
    assert!(matches!(redo(MediaStep::Publish).await, Err(MediaError::NotReached { .. })));
    // A message of the first run is still on its way.
    let old = MediaTask { book, generation: 1, step: MediaStep::Transcribe, window: None };
    assert_eq!(fixture.pipelines.take_step(&old).await.unwrap(), None);
    fixture.work().await;
    let status = fixture.pipelines.status(book).await.unwrap().unwrap();
    assert_eq!((status.generation, status.state), (2, PipelineState::Done));
    assert_eq!(fixture.pipelines.transcript(book).await.unwrap(), before, "of the same sound");
    assert!(fixture.database().windows(book, 1, 0, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_text_that_comes_after_a_redo_is_kept_for_the_new_run() {
    let fixture = Fixture::new().await;
    let book = fixture.planned(1).await;
    let window = fixture.pipelines.take_window(&fixture.one_due().await).await.unwrap().unwrap();
    fixture.pipelines.redo(book, MediaStep::Transcribe, FILE, &Request::default(), None).await.unwrap();
    assert_eq!(fixture.finish(&window).await, None, "its run is over");
    assert!(fixture.database().checkpoint(&[0; 32]).await.unwrap().is_some());
}

#[tokio::test]
async fn a_book_that_waits_says_until_when() {
    let fixture = Fixture::new().await;
    let book = fixture.planned(1).await;
    let task = fixture.one_due().await;
    let window = fixture.pipelines.take_window(&task).await.unwrap().unwrap();
    let until = fixture.clock.now() + jiff::SignedDuration::from_secs(90);
    let cause = Cause::new(codes::COOLING, "groq");
    assert!(fixture.pipelines.release_window(&window, until, &cause).await.unwrap());
    let status = fixture.pipelines.status(book).await.unwrap().unwrap();
    assert_eq!((status.state, status.resumes_at), (PipelineState::Waiting, Some(until)));
    assert!(fixture.pipelines.claim_due().await.unwrap().is_empty());
    assert_eq!(fixture.pipelines.wake_waiting().await.unwrap(), 1, "another provider is there");
    let window = fixture.pipelines.take_window(&fixture.one_due().await).await.unwrap().unwrap();
    assert!(fixture.pipelines.release_window(&window, until, &cause).await.unwrap());
    fixture.clock.advance(Duration::from_secs(91));
    fixture.work().await;
    assert_eq!(fixture.pipelines.status(book).await.unwrap().unwrap().state, PipelineState::Done);
}

#[tokio::test]
async fn a_book_that_nobody_knows_is_refused() {
    let fixture = Fixture::new().await;
    let unknown = fixture.pipelines.start(BookId::now(), FILE, None).await;
    assert!(matches!(unknown, Err(MediaError::UnknownBook)), "{unknown:?}");
    let book = fixture.add_book().await;
    let early = fixture.pipelines.redo(book, MediaStep::Summarise, FILE, &Request::default(), None).await;
    assert!(matches!(early, Err(MediaError::NotReached { .. })), "{early:?}");
}

#[tokio::test]
async fn a_transcript_that_is_read_while_a_new_one_takes_its_place_is_whole() {
    let fixture = Fixture::new().await;
    let book = fixture.add_book().await;
    fixture.pipelines.start(book, FILE, None).await.unwrap();
    fixture.work().await;
    let is_redone = Cell::new(false);
    let redoing = async {
        for _ in 0..20 {
            fixture.pipelines.redo(book, MediaStep::Transcribe, FILE, &Request::default(), None).await.unwrap();
            fixture.work().await;
        }
        is_redone.set(true);
    };
    let reading = async {
        while !is_redone.get() {
            assert_eq!(fixture.pipelines.transcript(book).await.unwrap().unwrap().len(), 5);
        }
    };
    tokio::join!(redoing, reading);
}
