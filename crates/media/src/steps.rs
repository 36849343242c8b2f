//! The step machine: what a pipeline becomes. Pure functions from a record to the record that is to be stored.

use std::time::Duration;

use contracts::{BookId, MediaStep, MediaTask, PipelineState};
use jiff::{SignedDuration, Timestamp};
use store::relational::PipelineRecord;

use crate::causes::{Cause, codes};
use crate::error::MediaError;

/// How long a worker has what it takes, without renewing it.
pub const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// How often a worker renews what it has.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// How often a worker may end in the middle of a step or a window before it is given up.
pub const MAX_CRASHES: u32 = 5;

/// What an admin asks for with a resume or a redo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The group of providers from now on; `None` leaves it, and an inner `None` makes it as configured.
    pub group: Option<Option<String>>,
    /// What the book may cost from now on, in millionths; `None` leaves it, and an inner `None` makes it as configured.
    pub budget_micro: Option<Option<i64>>,
}

/// A pipeline as it is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub record: PipelineRecord,
    /// Its windows that are not done are due at once.
    pub retry_windows: bool,
    /// Windows and texts of earlier runs are deleted, unless they are served.
    pub drop_earlier: bool,
}

impl Change {
    const fn of(record: PipelineRecord) -> Self {
        Self { record, retry_windows: false, drop_earlier: false }
    }
}

/// What a worker may do with a task that it has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It takes the step.
    Mine(PipelineRecord),
    /// Nothing: another worker has the step, or the task is done or of an earlier run.
    NotNow,
    /// Too many workers ended with it: the step fails.
    GivenUp(PipelineRecord),
}

/// The pipeline of a book that has none.
pub(crate) fn first(book: BookId, source: Option<[u8; 32]>, request: &Request, now: Timestamp) -> Change {
    let new = PipelineRecord {
        book,
        generation: 1,
        step: MediaStep::Upload,
        state: PipelineState::Waiting,
        cause: Some(codes::NO_FILE.to_owned()),
        detail: None,
        group: None,
        budget_micro: None,
        source: None,
        windows_total: None,
        windows_done: 0,
        transcript: None,
        texts: None,
        crashes: 0,
        revision: 0,
        wake_at: None,
        started_at: now,
        updated_at: now,
    };
    resumed(&new, source, request, now)
}

/// A pipeline that an admin resumes: it goes on at the first step that is not done. With another file it begins again.
pub(crate) fn resumed(known: &PipelineRecord, source: Option<[u8; 32]>, request: &Request, now: Timestamp) -> Change {
    let asked = asked_for(known, request);
    if known.step == MediaStep::Upload {
        return match source {
            Some(_) => Change::of(begun(PipelineRecord { source, ..asked }, MediaStep::Transcribe, now)),
            None => Change::of(asked),
        };
    }
    if source.is_some() && source != known.source {
        let again = PipelineRecord { source, generation: known.generation.saturating_add(1), ..asked };
        let record = begun(again, MediaStep::Transcribe, now);
        return Change { drop_earlier: true, ..Change::of(record) };
    }
    match known.state {
        PipelineState::Done => Change::of(asked),
        // It goes on by itself. What waits for a provider or for a budget need not wait when these are others now.
        PipelineState::Due | PipelineState::Running => {
            let retry_windows = asked != *known && waits_for_windows(known);
            Change { retry_windows, ..Change::of(asked) }
        }
        PipelineState::Waiting | PipelineState::Failed if waits_for_windows(known) => {
            let state = PipelineState::Running;
            let record = PipelineRecord { state, cause: None, detail: None, crashes: 0, wake_at: None, ..asked };
            Change { retry_windows: true, ..Change::of(record) }
        }
        PipelineState::Waiting | PipelineState::Failed => Change::of(due(asked, now)),
    }
}

/// A pipeline that does a step again, and all that come after it. What was there stays served until the new is complete.
pub(crate) fn redone(
    known: &PipelineRecord,
    from: MediaStep,
    source: Option<[u8; 32]>,
    request: &Request,
    now: Timestamp,
) -> Result<Change, MediaError> {
    let not_reached = Err(MediaError::NotReached { from, at: known.step });
    let has_input = match from {
        MediaStep::Transcribe => source.is_some(),
        MediaStep::Summarise => known.transcript.is_some(),
        MediaStep::Publish => true,
        MediaStep::Upload | MediaStep::Done => false,
    };
    if !has_input || from > known.step {
        return not_reached;
    }
    let asked = asked_for(known, request);
    let source = if from == MediaStep::Transcribe { source } else { known.source };
    let again = PipelineRecord { source, generation: known.generation.saturating_add(1), ..asked };
    Ok(Change { drop_earlier: true, ..Change::of(begun(again, from, now)) })
}

/// What a worker may do with a task that it has read now.
pub(crate) fn taken(known: &PipelineRecord, task: &MediaTask, now: Timestamp) -> Taken {
    let is_its = task.window.is_none() && task.generation == known.generation && task.step == known.step;
    let has_work = matches!(known.step, MediaStep::Transcribe | MediaStep::Summarise | MediaStep::Publish);
    let is_lapsed = known.state == PipelineState::Running && known.wake_at.is_some_and(|until| until <= now);
    let is_open = matches!(known.state, PipelineState::Due | PipelineState::Waiting) && known.wake_at.is_some();
    if !is_its || !has_work || !(is_open || is_lapsed) {
        return Taken::NotNow;
    }
    let crashes = known.crashes.saturating_add(u32::from(is_lapsed));
    if crashes >= MAX_CRASHES {
        return Taken::GivenUp(failed(&PipelineRecord { crashes, ..known.clone() }, &Cause::new(codes::CRASHED, "")));
    }
    let (state, wake_at) = (PipelineState::Running, Some(later(now, LEASE)));
    Taken::Mine(PipelineRecord { state, wake_at, crashes, cause: None, detail: None, ..known.clone() })
}

/// Whether a worker still has the step as which it holds `held`.
pub(crate) fn is_held(known: &PipelineRecord, held: &PipelineRecord) -> bool {
    let is_same = known.generation == held.generation && known.step == held.step;
    // Each taking of a step gives it another time.
    let is_running = known.state == PipelineState::Running && known.wake_at == held.wake_at;
    // The worker is late, for example after a failure of the database. The step is published again, and nothing else has happened since.
    let is_late = known.state == PipelineState::Due
        && known.revision == held.revision.saturating_add(1)
        && known.crashes == held.crashes.saturating_add(1);
    is_same && (is_running || is_late)
}

/// A step that its worker goes on with. One that is published again counts a crash, which there was not.
pub(crate) fn renewed(known: &PipelineRecord, now: Timestamp) -> PipelineRecord {
    let crashes = known.crashes.saturating_sub(u32::from(known.state == PipelineState::Due));
    PipelineRecord { state: PipelineState::Running, crashes, wake_at: Some(later(now, LEASE)), ..known.clone() }
}

/// A transcription with its windows. Without any, nobody speaks, and the step is due again to be ended.
pub(crate) fn planned(known: &PipelineRecord, windows: u32, now: Timestamp) -> PipelineRecord {
    let counted = PipelineRecord { windows_total: Some(windows), windows_done: 0, crashes: 0, ..known.clone() };
    if windows == 0 {
        return due(counted, now);
    }
    PipelineRecord { state: PipelineState::Running, wake_at: None, ..counted }
}

/// A pipeline whose step is done.
pub(crate) fn finished(known: &PipelineRecord, now: Timestamp) -> Change {
    let generation = Some(known.generation);
    let done = match known.step {
        MediaStep::Transcribe => PipelineRecord { transcript: generation, ..known.clone() },
        MediaStep::Summarise => PipelineRecord { texts: generation, ..known.clone() },
        MediaStep::Upload | MediaStep::Publish | MediaStep::Done => known.clone(),
    };
    let step = known.step.next();
    let record = if step == MediaStep::Done {
        let state = PipelineState::Done;
        PipelineRecord { step, state, cause: None, detail: None, crashes: 0, wake_at: None, ..done }
    } else {
        due(PipelineRecord { step, ..done }, now)
    };
    Change { drop_earlier: true, ..Change::of(record) }
}

/// A step that waits until a time.
pub(crate) fn waiting(known: &PipelineRecord, until: Timestamp, cause: &Cause) -> PipelineRecord {
    let (code, detail) = stored(cause);
    PipelineRecord { state: PipelineState::Waiting, cause: code, detail, wake_at: Some(until), ..known.clone() }
}

/// A step that has failed.
pub(crate) fn failed(known: &PipelineRecord, cause: &Cause) -> PipelineRecord {
    let (code, detail) = stored(cause);
    PipelineRecord { state: PipelineState::Failed, cause: code, detail, wake_at: None, ..known.clone() }
}

fn stored(cause: &Cause) -> (Option<String>, Option<String>) {
    (Some(cause.code.clone()), Some(cause.detail.clone()).filter(|detail| !detail.is_empty()))
}

fn asked_for(known: &PipelineRecord, request: &Request) -> PipelineRecord {
    let Request { group, budget_micro } = request.clone();
    let group = group.unwrap_or_else(|| known.group.clone());
    PipelineRecord { group, budget_micro: budget_micro.unwrap_or(known.budget_micro), ..known.clone() }
}

/// A run that begins at a step. The windows stay those of the transcript, unless they are planned again.
fn begun(record: PipelineRecord, step: MediaStep, now: Timestamp) -> PipelineRecord {
    let record = if step == MediaStep::Transcribe {
        PipelineRecord { windows_total: None, windows_done: 0, ..record }
    } else {
        record
    };
    due(PipelineRecord { step, ..record }, now)
}

fn due(record: PipelineRecord, now: Timestamp) -> PipelineRecord {
    PipelineRecord { state: PipelineState::Due, cause: None, detail: None, crashes: 0, wake_at: Some(now), ..record }
}

/// Whether the step is a transcription whose windows are not all done.
fn waits_for_windows(record: &PipelineRecord) -> bool {
    record.step == MediaStep::Transcribe && record.windows_total.is_some() && !record.are_windows_done()
}

/// A time after another one.
pub(crate) fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
