use super::*;

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

const FILE: Option<[u8; 32]> = Some([1; 32]);

fn book() -> BookId {
    "01890a5d-ac97-7000-8000-000000000004".parse().unwrap()
}

fn begun_book() -> PipelineRecord {
    first(book(), FILE, &Request::default(), now()).record
}

fn task(record: &PipelineRecord) -> MediaTask {
    MediaTask { book: record.book, generation: record.generation, step: record.step, window: None }
}

/// The record that a worker has when it has taken the step.
fn mine(record: &PipelineRecord) -> PipelineRecord {
    match taken(record, &task(record), now()) {
        Taken::Mine(record) => record,
        other => unreachable!("{other:?} of {record:?}"),
    }
}

/// A book whose step is reached, without anything done in it.
fn at_step(step: MediaStep) -> PipelineRecord {
    let mut record = begun_book();
    while record.step != step {
        if record.step == MediaStep::Transcribe {
            let counted = planned(&mine(&record), 2, now());
            record = due(PipelineRecord { windows_done: 2, ..counted }, now());
        }
        record = finished(&mine(&record), now()).record;
    }
    record
}

fn resume(known: &PipelineRecord) -> Change {
    resumed(known, known.source, &Request::default(), at(60))
}

#[test]
fn a_book_goes_through_its_steps_in_order() {
    let waiting = first(book(), None, &Request::default(), now()).record;
    assert_eq!(
        (waiting.step, waiting.state, waiting.cause.as_deref()),
        (MediaStep::Upload, PipelineState::Waiting, Some("no_file"))
    );
    assert_eq!(resume(&waiting).record, waiting, "it waits for its file");
    let begun = resumed(&waiting, FILE, &Request::default(), now()).record;
    assert_eq!((begun.step, begun.state, begun.wake_at), (MediaStep::Transcribe, PipelineState::Due, Some(now())));
    assert_eq!((begun.generation, begun.source, begun.cause), (1, FILE, None));

    let done = at_step(MediaStep::Done);
    assert_eq!((done.state, done.wake_at), (PipelineState::Done, None));
    assert_eq!((done.transcript, done.texts), (Some(1), Some(1)));
    assert_eq!(resume(&done).record, done);
}

#[test]
fn a_fault_at_each_step_goes_on_where_it_was() {
    for step in [MediaStep::Transcribe, MediaStep::Summarise, MediaStep::Publish] {
        let record = mine(&at_step(step));
        for stopped in [
            failed(&record, &Cause::new(codes::INTERNAL, "out of memory")),
            waiting(&record, at(900), &Cause::new(codes::COOLING, "")),
        ] {
            let resumed = resume(&stopped);
            assert_eq!((resumed.record.step, resumed.record.state), (step, PipelineState::Due));
            assert_eq!((resumed.record.wake_at, resumed.record.cause), (Some(at(60)), None));
            assert_eq!(resumed.record.generation, 1);
            assert!(!resumed.drop_earlier && !resumed.retry_windows);
        }
        // What runs is left alone.
        assert_eq!(resume(&record).record, record);
    }
}

#[test]
fn a_transcription_goes_on_with_the_windows_that_are_not_done() {
    let record = PipelineRecord { windows_done: 7, ..planned(&mine(&begun_book()), 10, now()) };
    assert_eq!((record.state, record.wake_at), (PipelineState::Running, None), "it waits for its windows");
    let stopped = failed(&record, &Cause::new(codes::WINDOW_REFUSED, "window 8"));
    let resumed = resume(&stopped);
    assert!(resumed.retry_windows && !resumed.drop_earlier);
    assert_eq!((resumed.record.windows_done, resumed.record.wake_at), (7, None));
    // All were done, and the end of the step failed.
    let stopped = PipelineRecord { windows_done: 10, ..stopped };
    assert_eq!(resume(&stopped).record.wake_at, Some(at(60)));
}

#[test]
fn windows_that_wait_go_on_with_another_group_at_once() {
    let record = planned(&mine(&begun_book()), 10, now());
    let request = Request { group: Some(Some("local".to_owned())), ..Request::default() };
    let changed = resumed(&record, FILE, &request, now());
    assert!(changed.retry_windows && changed.record.state == PipelineState::Running);
    assert!(!resumed(&changed.record, FILE, &request, now()).retry_windows, "nothing has changed");
}

#[test]
fn without_speech_the_step_is_due_again_to_be_ended() {
    let record = planned(&mine(&begun_book()), 0, now());
    assert_eq!((record.state, record.windows_total), (PipelineState::Due, Some(0)));
    assert!(record.are_windows_done());
}

#[test]
fn another_file_begins_again_and_the_same_one_does_not() {
    let done = at_step(MediaStep::Done);
    assert_eq!(resumed(&done, FILE, &Request::default(), at(1)).record, done);
    assert_eq!(resumed(&done, None, &Request::default(), at(1)).record, done, "nobody looked");
    let other = resumed(&done, Some([2; 32]), &Request::default(), at(1));
    assert!(other.drop_earlier);
    assert_eq!((other.record.generation, other.record.step), (2, MediaStep::Transcribe));
    assert_eq!((other.record.windows_total, other.record.source), (None, Some([2; 32])));
    assert_eq!((other.record.transcript, other.record.texts), (Some(1), Some(1)), "they stay served");
}

#[test]
fn a_step_is_done_again_with_all_that_come_after_it() {
    let done = at_step(MediaStep::Done);
    let request = Request { group: Some(Some("cloud".to_owned())), ..Request::default() };
    for from in [MediaStep::Transcribe, MediaStep::Summarise, MediaStep::Publish] {
        let again = redone(&done, from, FILE, &request, at(1)).unwrap();
        assert_eq!((again.record.step, again.record.state, again.record.generation), (from, PipelineState::Due, 2));
        assert_eq!(again.record.group.as_deref(), Some("cloud"));
        assert_eq!((again.record.transcript, again.record.texts), (Some(1), Some(1)), "they stay served");
        assert!(again.drop_earlier);
        // A task of the run before is nobody's.
        assert_eq!(taken(&again.record, &MediaTask { generation: 1, ..task(&again.record) }, at(1)), Taken::NotNow);
    }
    for (record, from) in [
        (at_step(MediaStep::Summarise), MediaStep::Publish),
        (begun_book(), MediaStep::Summarise),
        (done.clone(), MediaStep::Upload),
        (done, MediaStep::Done),
    ] {
        assert!(matches!(redone(&record, from, FILE, &request, now()), Err(MediaError::NotReached { .. })), "{from}");
    }
    let without_file = redone(&begun_book(), MediaStep::Transcribe, None, &request, now());
    assert!(matches!(without_file, Err(MediaError::NotReached { .. })));
}

#[test]
fn a_group_and_a_budget_stay_until_they_are_changed() {
    let request = Request { group: Some(Some("cloud".to_owned())), budget_micro: Some(Some(5)) };
    let running = mine(&begun_book());
    let changed = resumed(&running, FILE, &request, now()).record;
    assert_eq!((changed.group.as_deref(), changed.budget_micro), (Some("cloud"), Some(5)), "also in the middle");
    assert_eq!((changed.state, changed.wake_at), (running.state, running.wake_at));
    let left = resumed(&changed, FILE, &Request::default(), now()).record;
    assert_eq!(left, changed);
    let configured = Request { group: Some(None), budget_micro: Some(None) };
    let reset = resumed(&changed, FILE, &configured, now()).record;
    assert_eq!((reset.group, reset.budget_micro), (None, None));
}

#[test]
fn a_step_belongs_to_one_worker_until_its_time_is_over() {
    let record = mine(&begun_book());
    assert_eq!((record.state, record.wake_at), (PipelineState::Running, Some(at(30))));
    assert_eq!(taken(&record, &task(&record), at(29)), Taken::NotNow);
    let renewed = renewed(&record, at(20));
    assert_eq!(taken(&renewed, &task(&record), at(49)), Taken::NotNow);
    let Taken::Mine(taken) = taken(&renewed, &task(&record), at(50)) else { unreachable!("its worker is gone") };
    assert_eq!((taken.crashes, taken.wake_at), (1, Some(at(80))));
}

#[test]
fn a_task_of_another_step_or_window_is_not_taken() {
    let record = begun_book();
    for other in [
        MediaTask { step: MediaStep::Summarise, ..task(&record) },
        MediaTask { generation: 2, ..task(&record) },
        MediaTask { window: Some(0), ..task(&record) },
    ] {
        assert_eq!(taken(&record, &other, now()), Taken::NotNow, "{other:?}");
    }
    let done = at_step(MediaStep::Done);
    assert_eq!(taken(&done, &task(&done), now()), Taken::NotNow);
    // The transcription waits for its windows.
    let planned = planned(&mine(&record), 3, now());
    assert_eq!(taken(&planned, &task(&planned), at(900)), Taken::NotNow);
}

#[test]
fn what_ends_its_worker_five_times_is_given_up() {
    let crashed = PipelineRecord { crashes: MAX_CRASHES, ..begun_book() };
    let Taken::GivenUp(record) = taken(&crashed, &task(&crashed), now()) else { unreachable!("it is tried again") };
    assert_eq!((record.state, record.cause.as_deref()), (PipelineState::Failed, Some("crashed")));
    assert_eq!(resume(&record).record.crashes, 0);
}
