//! Pipelines and their windows: changes, claims, ends.

use contracts::{BookId, BookStatus, MediaStep, MediaTask, PipelineState};
use jiff::{SignedDuration, Timestamp};
use store::Relational;
use store::relational::{
    BookWriteOutcome, NewBook, NewCheckpoint, PipelineExtras, PipelineRecord, WindowRecord, WindowResult, WindowState,
};

use crate::relational::{TwoStores, now};

const LEASE: SignedDuration = SignedDuration::from_secs(30);

pub async fn add_book(store: &Relational) -> BookId {
    let new = NewBook {
        id: BookId::now(),
        title: "Emma".to_owned(),
        author: "Jane Austen".to_owned(),
        language: Some("en".to_owned()),
        price: None,
        description: None,
        categories: Vec::new(),
        status: BookStatus::Processing,
    };
    let outcome = store.create_book(&new, None, now()).await.unwrap();
    assert!(matches!(outcome, BookWriteOutcome::Stored(_)), "{outcome:?}");
    new.id
}

fn new_pipeline(book: BookId, at: Timestamp) -> PipelineRecord {
    PipelineRecord {
        book,
        generation: 1,
        step: MediaStep::Transcribe,
        state: PipelineState::Due,
        cause: Some("a".to_owned()),
        detail: Some("b".to_owned()),
        group: Some("cloud".to_owned()),
        budget_micro: Some(5),
        source: Some([7; 32]),
        windows_total: None,
        windows_done: 0,
        transcript: None,
        texts: None,
        crashes: 2,
        revision: 0,
        wake_at: Some(at),
        started_at: at,
        updated_at: at,
    }
}

async fn put(store: &Relational, record: &PipelineRecord, seen: Option<i64>) -> Option<PipelineRecord> {
    store.put_pipeline(record, seen, &PipelineExtras::default(), now()).await.unwrap()
}

pub async fn begun(store: &Relational) -> PipelineRecord {
    let book = add_book(store).await;
    begun_for(store, book).await
}

/// The pipeline of a book that has none.
pub async fn begun_for(store: &Relational, book: BookId) -> PipelineRecord {
    put(store, &new_pipeline(book, now()), None).await.unwrap()
}

/// A pipeline that waits for this many windows of a second each.
async fn planned(store: &Relational, windows: u32) -> PipelineRecord {
    let begun = begun(store).await;
    let spans: Vec<(u64, u64)> = (0..u64::from(windows)).map(|n| (n * 1_000, n * 1_000 + 900)).collect();
    let wanted = PipelineRecord {
        state: PipelineState::Running,
        windows_total: Some(windows),
        wake_at: None,
        cause: None,
        detail: None,
        ..begun.clone()
    };
    store.put_plan(&wanted, begun.revision, &spans, now()).await.unwrap().unwrap()
}

async fn found(store: &Relational, book: BookId) -> PipelineRecord {
    store.pipeline(book).await.unwrap().unwrap()
}

async fn taken(store: &Relational, task: &MediaTask) -> WindowRecord {
    store.take_window(task, now() + LEASE, now()).await.unwrap().unwrap()
}

fn text(key: u8) -> NewCheckpoint {
    let (provider, model) = ("here".to_owned(), "whisper-tiny.en".to_owned());
    NewCheckpoint { key: [key; 32], kind: "window", provider, model, body: vec![key] }
}

async fn finish(store: &Relational, window: &WindowRecord, text: &NewCheckpoint) -> Option<PipelineRecord> {
    let (provider, model) = ("here", "whisper-tiny.en");
    let result = WindowResult { key: text.key, provider, model, flag: Some("loop"), checkpoint: Some(text) };
    store.finish_window(window, &result, now()).await.unwrap()
}

pub async fn a_pipeline_is_changed_from_the_revision_that_was_seen(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let unknown = new_pipeline(BookId::now(), now());
    assert_eq!(put(one, &unknown, None).await, None, "there is no such book");
    let book = add_book(one).await;
    let at = now();
    let wanted = new_pipeline(book, at);
    let first = put(one, &wanted, None).await.unwrap();
    assert_eq!(
        first,
        PipelineRecord { revision: 1, started_at: first.started_at, updated_at: first.updated_at, ..wanted.clone() }
    );
    assert_eq!(found(other, book).await, first);
    assert_eq!(put(other, &wanted, None).await, None, "it is not new");

    let changed = PipelineRecord { step: MediaStep::Summarise, source: None, group: None, ..first.clone() };
    let (mine, theirs) = tokio::join!(put(one, &changed, Some(1)), put(other, &changed, Some(1)));
    assert!(mine.is_some() != theirs.is_some(), "of two that saw the same one, one changes it");
    let now_is = found(one, book).await;
    assert_eq!(
        (now_is.revision, now_is.step, now_is.source, now_is.started_at),
        (2, MediaStep::Summarise, None, first.started_at)
    );
}

pub async fn a_due_step_is_claimed_once_and_again_after_a_while(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let pipeline = begun(one).await;
    let task = MediaTask { book: pipeline.book, generation: 1, step: MediaStep::Transcribe, window: None };
    let at = now();
    let (mine, theirs) = tokio::join!(one.claim_pipelines(at, 9), other.claim_pipelines(at, 9));
    assert_eq!([mine.unwrap(), theirs.unwrap()].concat(), [task]);
    assert_eq!(one.claim_pipelines(at + LEASE - SignedDuration::from_secs(1), 9).await.unwrap(), []);
    assert_eq!(one.claim_pipelines(at + LEASE, 9).await.unwrap(), [task], "nobody has taken it");
    assert_eq!(found(one, pipeline.book).await.revision, pipeline.revision);

    // A worker that does not renew it has lost it.
    let known = found(one, pipeline.book).await;
    let running = PipelineRecord { state: PipelineState::Running, wake_at: Some(at + LEASE), ..known };
    let running = put(one, &running, Some(running.revision)).await.unwrap();
    assert_eq!(other.claim_pipelines(at + LEASE, 9).await.unwrap(), [task]);
    let lost = found(one, pipeline.book).await;
    assert_eq!((lost.state, lost.crashes), (PipelineState::Due, pipeline.crashes + 1));
    assert_eq!(put(one, &running, Some(running.revision)).await, None);
    // What waits for its windows or for an admin is not due.
    let still = PipelineRecord { wake_at: None, ..lost.clone() };
    put(one, &still, Some(lost.revision)).await.unwrap();
    assert_eq!(one.claim_pipelines(at + LEASE + LEASE + LEASE, 9).await.unwrap(), []);
}

pub async fn books_take_turns_and_not_all_windows_are_published(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let first = planned(one, 5).await;
    let second = planned(one, 2).await;
    let numbers = |tasks: &[MediaTask]| tasks.iter().map(|task| (task.book, task.window)).collect::<Vec<_>>();
    let at = now();
    let claimed = one.claim_windows(at, 3).await.unwrap();
    assert_eq!(numbers(&claimed), [(first.book, Some(0)), (second.book, Some(0)), (first.book, Some(1))]);
    assert_eq!(other.claim_windows(at, 3).await.unwrap(), [], "three are under way");
    let window = taken(other, &claimed[0]).await;
    assert_eq!((window.start_ms, window.end_ms, window.n), (0, 900, 0));
    finish(other, &window, &text(1)).await.unwrap();
    let next = one.claim_windows(at, 3).await.unwrap();
    assert_eq!(numbers(&next), [(second.book, Some(1))], "one is done");
    let more = one.claim_windows(at, 9).await.unwrap();
    assert_eq!(numbers(&more), [2, 3, 4].map(|n| (first.book, Some(n))));

    // Whatever is lost is published again after half a minute, and then after a minute more.
    let again = one.claim_windows(at + LEASE, 9).await.unwrap();
    assert_eq!(again.len(), 6);
    assert_eq!(one.claim_windows(at + LEASE + LEASE, 9).await.unwrap(), []);
    assert_eq!(one.claim_windows(at + LEASE + LEASE + LEASE, 9).await.unwrap().len(), 6);
}

pub async fn of_many_workers_one_has_a_window(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let pipeline = planned(one, 1).await;
    let task = one.claim_windows(now(), 9).await.unwrap()[0];
    let at = now();
    let takes = [one, other, one, other].map(|store| store.take_window(&task, at + LEASE, at));
    let taken: Vec<WindowRecord> =
        futures::future::join_all(takes).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!((taken.len(), taken[0].state, taken[0].taken, taken[0].crashes), (1, WindowState::Running, 1, 0));
    assert_eq!(taken[0].task(), task);
    assert!(one.renew_window(&taken[0], at + LEASE + LEASE).await.unwrap());
    assert_eq!(other.take_window(&task, at + LEASE, at + LEASE).await.unwrap(), None, "it was renewed");
    // Its worker is gone: another one takes it, and what the first one still wants is refused.
    let second = other.take_window(&task, at + LEASE * 4, at + LEASE * 2).await.unwrap().unwrap();
    assert_eq!((second.taken, second.crashes), (2, 1));
    assert!(!one.renew_window(&taken[0], at + LEASE * 9).await.unwrap());
    assert!(!one.release_window(&taken[0], at, "cooling", "groq", at).await.unwrap());
    assert_eq!(one.fail_window(&taken[0], "crashed", "", at).await.unwrap(), None);
    assert_eq!(found(one, pipeline.book).await.state, PipelineState::Running);
    for other_task in [
        MediaTask { generation: 2, ..task },
        MediaTask { window: Some(7), ..task },
        MediaTask { window: None, ..task },
        MediaTask { book: BookId::now(), ..task },
    ] {
        assert_eq!(one.take_window(&other_task, at + LEASE, at).await.unwrap(), None, "{other_task:?}");
    }
}

pub async fn a_late_worker_keeps_a_window_that_nobody_has_taken(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let pipeline = planned(one, 1).await;
    let at = now();
    let task = one.claim_windows(at, 9).await.unwrap()[0];
    let window = taken(one, &task).await;
    let late = now() + LEASE;
    assert_eq!(other.claim_windows(late, 9).await.unwrap(), [task], "it is published again");
    assert!(one.renew_window(&window, late + LEASE).await.unwrap());
    assert_eq!(other.take_window(&task, late + LEASE, late).await.unwrap(), None, "its worker goes on");
    let known = one.windows(pipeline.book, 1, 0, 1).await.unwrap().remove(0);
    assert_eq!((known.state, known.crashes, known.taken), (WindowState::Running, 0, 1));
    // When it is later still, and another one has it, it is lost.
    assert_eq!(other.claim_windows(late + LEASE, 9).await.unwrap(), [task]);
    let second = other.take_window(&task, late + LEASE * 2, late + LEASE).await.unwrap().unwrap();
    assert_eq!((second.taken, second.crashes), (2, 1));
    assert!(!one.renew_window(&window, late + LEASE * 3).await.unwrap());
}

pub async fn the_last_window_wakes_its_pipeline_once(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let pipeline = planned(one, 4).await;
    let tasks = one.claim_windows(now(), 9).await.unwrap();
    let mut windows = Vec::new();
    for task in &tasks {
        windows.push(taken(one, task).await);
    }
    let texts = [1, 2, 3, 4].map(text);
    let finishes = windows.iter().zip(&texts).map(|(window, text)| {
        let store = if window.n % 2 == 0 { one } else { other };
        async move { finish(store, window, text).await.unwrap() }
    });
    let finished = futures::future::join_all(finishes).await;
    let woken: Vec<_> = finished.iter().filter(|record| record.wake_at.is_some()).collect();
    assert_eq!(woken.len(), 1, "{finished:?}");
    assert_eq!((woken[0].windows_done, woken[0].state), (4, PipelineState::Due));
    assert_eq!(found(one, pipeline.book).await, *woken[0]);

    assert_eq!(finish(one, &windows[0], &text(9)).await, None, "it is done");
    assert_eq!(found(one, pipeline.book).await.windows_done, 4);
    assert_eq!(one.checkpoint(&[9; 32]).await.unwrap(), None, "and nothing is stored");
    let page = other.window_texts(pipeline.book, 1, 1, 2).await.unwrap();
    let bodies: Vec<_> = page.iter().map(|(window, body)| (window.n, body.clone())).collect();
    assert_eq!(bodies, [(1, Some(vec![2])), (2, Some(vec![3]))]);
    let done = &page[0].0;
    assert_eq!((done.state, done.key, done.flag.as_deref()), (WindowState::Done, Some([2; 32]), Some("loop")));
    assert_eq!((done.provider.as_deref(), done.model.as_deref()), (Some("here"), Some("whisper-tiny.en")));
}

pub async fn a_window_that_is_put_off_is_due_again_at_its_time(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let pipeline = planned(one, 2).await;
    let at = now();
    let tasks = one.claim_windows(at, 9).await.unwrap();
    let (first, second) = (taken(one, &tasks[0]).await, taken(one, &tasks[1]).await);
    let until = at + SignedDuration::from_mins(5);
    assert!(one.renew_window(&second, until + LEASE).await.unwrap());
    assert!(one.release_window(&first, until, "cooling", "groq", at).await.unwrap());
    let waiting = found(other, pipeline.book).await;
    assert_eq!(
        (waiting.state, waiting.cause.as_deref(), waiting.wake_at),
        (PipelineState::Waiting, Some("cooling"), None)
    );
    assert_eq!(other.next_window_at(pipeline.book, 1).await.unwrap(), Some(until));
    assert_eq!(other.claim_windows(until - SignedDuration::from_secs(1), 9).await.unwrap(), []);
    // An admin has changed the providers, so it need not wait.
    assert_eq!(other.wake_waiting(at).await.unwrap(), 1);
    assert_eq!(other.next_window_at(pipeline.book, 1).await.unwrap(), Some(at));
    assert_eq!(other.wake_waiting(at).await.unwrap(), 0);
    // It goes on with any window that is done.
    let going_on = finish(one, &second, &text(1)).await.unwrap();
    assert_eq!((going_on.state, going_on.cause), (PipelineState::Running, None));
    assert_eq!(other.claim_windows(until, 9).await.unwrap(), [tasks[0]]);
    let again = other.take_window(&tasks[0], until + LEASE, until).await.unwrap().unwrap();
    assert_eq!((again.crashes, again.cause), (0, None), "no worker ended with it");
}

pub async fn a_failed_window_stops_its_book_until_it_is_resumed(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let pipeline = planned(one, 4).await;
    let at = now();
    let tasks = one.claim_windows(at, 3).await.unwrap();
    let (first, second) = (taken(one, &tasks[0]).await, taken(one, &tasks[1]).await);
    let failed = one.fail_window(&first, "window_refused", "groq", at).await.unwrap().unwrap();
    assert_eq!((failed.state, failed.cause.as_deref()), (PipelineState::Failed, Some("window_refused")));
    // Nothing else is begun, what runs is finished, and the cause stays.
    assert_eq!(other.claim_windows(at + LEASE * 9, 9).await.unwrap(), []);
    assert_eq!(other.take_window(&tasks[2], at + LEASE, at).await.unwrap(), None);
    let counted = finish(one, &second, &text(1)).await.unwrap();
    assert_eq!(
        (counted.windows_done, counted.state, counted.cause.as_deref()),
        (1, PipelineState::Failed, Some("window_refused"))
    );

    let resumed = PipelineRecord { state: PipelineState::Running, cause: None, ..counted.clone() };
    let retry = PipelineExtras { retry_windows: true, ..PipelineExtras::default() };
    one.put_pipeline(&resumed, Some(counted.revision), &retry, at).await.unwrap().unwrap();
    assert_eq!(other.claim_windows(at, 9).await.unwrap().len(), 3, "all but the one that is done");
    assert_eq!(one.windows(pipeline.book, 1, 1, 1).await.unwrap()[0].state, WindowState::Done);
}

pub async fn what_is_served_outlives_the_next_run(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let pipeline = planned(one, 1).await;
    let task = one.claim_windows(now(), 9).await.unwrap()[0];
    let counted = finish(one, &taken(one, &task).await, &text(1)).await.unwrap();
    one.put_text_parts(pipeline.book, 1, "sentences", &[vec![1], vec![2], vec![3]]).await.unwrap();
    let drop_earlier = PipelineExtras { drop_earlier: true, ..PipelineExtras::default() };
    let again = PipelineRecord { generation: 2, transcript: Some(1), texts: Some(1), ..counted.clone() };
    let again = one.put_pipeline(&again, Some(counted.revision), &drop_earlier, now()).await.unwrap().unwrap();
    assert_eq!(other.window_texts(pipeline.book, 1, 0, 9).await.unwrap()[0].1, Some(vec![1]));
    assert_eq!(other.text_parts(pipeline.book, 1, "sentences", 1, 9).await.unwrap(), [vec![2], vec![3]]);
    assert!(other.text_parts(pipeline.book, 1, "other", 0, 9).await.unwrap().is_empty());

    // The new ones are complete. What nobody has any more is swept after its time, and not before.
    let complete = PipelineRecord { transcript: Some(2), texts: Some(2), ..again.clone() };
    one.put_pipeline(&complete, Some(again.revision), &drop_earlier, now()).await.unwrap().unwrap();
    assert!(other.windows(pipeline.book, 1, 0, 9).await.unwrap().is_empty());
    assert!(other.text_parts(pipeline.book, 1, "sentences", 0, 9).await.unwrap().is_empty());
    one.sweep(now()).await.unwrap();
    assert!(one.checkpoint(&[1; 32]).await.unwrap().is_some());
    one.sweep(now() + SignedDuration::from_hours(24 * 91)).await.unwrap();
    assert_eq!(one.checkpoint(&[1; 32]).await.unwrap(), None);
}

pub async fn a_text_that_a_window_has_is_not_swept(stores: &TwoStores) {
    let store = &stores.one;
    let (first, second) = (planned(store, 1).await, planned(store, 1).await);
    for task in store.claim_windows(now(), 9).await.unwrap() {
        finish(store, &taken(store, &task).await, &text(1)).await.unwrap();
    }
    store.put_checkpoint(&text(2), now()).await.unwrap();
    // One of two books gives the text up.
    let known = found(store, first.book).await;
    let again = PipelineRecord { generation: 2, ..known.clone() };
    let drop_earlier = PipelineExtras { drop_earlier: true, ..PipelineExtras::default() };
    store.put_pipeline(&again, Some(known.revision), &drop_earlier, now()).await.unwrap().unwrap();
    store.sweep(now() + SignedDuration::from_hours(24 * 999)).await.unwrap();
    assert_eq!(store.checkpoint(&[1; 32]).await.unwrap().unwrap().body, [1], "the other has it");
    assert_eq!(store.checkpoint(&[2; 32]).await.unwrap(), None, "nobody had it");
    assert!(store.window_texts(second.book, 1, 0, 9).await.unwrap()[0].1.is_some());
    // The first text of a key stays.
    store.put_checkpoint(&NewCheckpoint { body: vec![99], ..text(1) }, now()).await.unwrap();
    assert_eq!(store.checkpoint(&[1; 32]).await.unwrap().unwrap().body, [1]);
}

pub async fn the_work_on_a_deleted_book_ends(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let pipeline = planned(one, 3).await;
    let at = now();
    let tasks = one.claim_windows(at, 2).await.unwrap();
    let running = taken(one, &tasks[0]).await;
    one.delete_book(pipeline.book, None, at).await.unwrap();
    let ended = found(other, pipeline.book).await;
    assert_eq!((ended.state, ended.cause.as_deref()), (PipelineState::Failed, Some("book_deleted")));
    assert_eq!(other.take_window(&tasks[1], at + LEASE, at).await.unwrap(), None);
    assert_eq!(other.claim_windows(at + LEASE * 9, 9).await.unwrap(), []);
    assert!(finish(one, &running, &text(1)).await.is_some(), "what was paid for is kept");
    assert_eq!(put(one, &new_pipeline(pipeline.book, at), None).await, None);
}
