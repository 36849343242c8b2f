//! One task from its message to its effect in the database.

use std::sync::Arc;

use consumer_kit::{Retry, backoff};
use contracts::{MediaStep, MediaTask};
use jiff::{SignedDuration, Timestamp};
use media::{Cause, MediaError, Pipelines, Window, codes};
use metrics::counter;
use platform::traces::Traces;
use store::relational::PipelineRecord;
use store::{Media, StoreError};
use text::Embeddings;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::held::Held;
use crate::SharedArgs;
use crate::due::Due;
use crate::progress::Progress;
use crate::providers::Providers;
use crate::sounds::Sounds;

/// Recordings in which speech is looked for at the same time. Each needs a thread and some 30 MiB.
pub const PLANS: usize = 2;

/// What the steps need.
pub struct Steps {
    /// How far books are.
    pub pipelines: Pipelines,
    /// The files of books.
    pub media: Arc<dyn Media>,
    /// The files that were opened last.
    pub sounds: Sounds,
    /// Who transcribes and describes.
    pub providers: Providers,
    /// Makes embeddings.
    pub embeddings: Embeddings,
    /// Where the models are.
    pub shared: SharedArgs,
    /// Publishes what is due after a task.
    pub due: Due,
    /// Publishes how far books are.
    pub progress: Progress,
    /// Starts spans.
    pub traces: Traces,
    /// Permits for recordings in which speech is looked for: [`PLANS`].
    pub plans: Arc<Semaphore>,
    /// How the service stops.
    pub shutdown: Shutdown,
}

/// How the service stops, in two steps.
pub struct Shutdown {
    /// No task is begun any more.
    stop: CancellationToken,
    /// What is not done is given back.
    give_up: CancellationToken,
}

impl Shutdown {
    /// One that begins with `stop`.
    pub fn after(stop: CancellationToken) -> Self {
        Self { stop, give_up: CancellationToken::new() }
    }
}

/// How the work on a step ends.
pub(super) enum StepEnd {
    /// The recording has these windows.
    Planned(Vec<Window>),
    /// The step is done.
    Finished,
    /// It goes on later.
    Waits(Timestamp, Cause),
    /// It goes on when an admin has resumed it.
    Failed(Cause),
}

/// Why a task has no effect.
pub(super) enum Unfinished {
    /// The service stopped while the database could not be used.
    Stopped,
    /// The database refuses for good, or has something that cannot be read.
    Refused(MediaError),
}

/// The outcome of work on the database.
pub(super) type Work<T> = Result<T, Unfinished>;

impl Steps {
    /// Does a task. `false` if its message is to be delivered again.
    pub async fn run(&self, task: MediaTask, traceparent: Option<&str>) -> bool {
        if self.shutdown.stop.is_cancelled() {
            return false;
        }
        let mut span = self.traces.consumer("work on a book", traceparent, None);
        span.set_id("book.id", task.book);
        span.set("book.step", task.step.as_str());
        let worked = match task.window {
            Some(_) => Box::pin(self.window(&task)).await,
            None => Box::pin(self.step(&task)).await,
        };
        // Also after a failure: what it was is due again, or an admin has resumed it meanwhile.
        self.due.wake();
        match worked {
            Ok(outcome) => {
                counter!("sightline_audio_tasks_total", "step" => task.step.as_str(), "outcome" => outcome)
                    .increment(1);
                true
            }
            Err(Unfinished::Stopped) => false,
            Err(Unfinished::Refused(error)) => {
                span.fail(error.code());
                tracing::error!(%error, book.id = %task.book, step = %task.step, "a task of a book cannot be done");
                true
            }
        }
    }

    /// From now on, what is not done is given back.
    pub fn give_up(&self) {
        self.shutdown.give_up.cancel();
    }

    /// Whether work is given back.
    pub fn gives_up(&self) -> bool {
        self.shutdown.give_up.is_cancelled()
    }

    /// Resolves when work is given back.
    pub(super) async fn given_up(&self) {
        self.shutdown.give_up.cancelled().await;
    }

    async fn step(&self, task: &MediaTask) -> Work<&'static str> {
        let Some(record) = self.retrying(|| self.pipelines.take_step(task)).await? else { return Ok("not_due") };
        self.progress.publish(&record).await;
        let work = self.retrying(|| self.work_on(&record));
        let (record, end) = match self.hold_step(record.clone(), work).await {
            Held::Done(record, Ok(end)) => (record, end),
            Held::Done(_, Err(Unfinished::Stopped)) => return Err(Unfinished::Stopped),
            Held::Done(record, Err(Unfinished::Refused(error))) => {
                let end = refused(&record, &error);
                (record, end)
            }
            Held::Lost => return Ok("lost"),
            Held::GivenUp(record) => (record, StepEnd::Waits(self.pipelines.now(), stopped())),
        };
        match self.end_step(&record, end).await {
            // The step would be done again and again, and never end.
            Err(Unfinished::Refused(error)) => self.end_step(&record, refused(&record, &error)).await,
            ended => ended,
        }
    }

    async fn work_on(&self, record: &PipelineRecord) -> Result<StepEnd, MediaError> {
        match record.step {
            MediaStep::Transcribe => self.plan(record).await,
            MediaStep::Summarise => Box::pin(self.summarise(record)).await,
            MediaStep::Publish => self.publish(record).await,
            // Nothing is due in these.
            MediaStep::Upload | MediaStep::Done => Ok(StepEnd::Finished),
        }
    }

    async fn end_step(&self, record: &PipelineRecord, end: StepEnd) -> Work<&'static str> {
        let (stored, outcome) = match &end {
            StepEnd::Planned(windows) => (self.retrying(|| self.pipelines.plan(record, windows)).await?, "planned"),
            StepEnd::Finished => (self.retrying(|| self.pipelines.finish_step(record)).await?, "done"),
            StepEnd::Waits(until, cause) => {
                (self.retrying(|| self.pipelines.wait_step(record, *until, cause)).await?, "waits")
            }
            StepEnd::Failed(cause) => {
                let (code, detail) = (&cause.code, &cause.detail);
                tracing::warn!(book.id = %record.book, step = %record.step, code, detail, "a step of a book has failed");
                (self.retrying(|| self.pipelines.fail_step(record, cause)).await?, "failed")
            }
        };
        match stored {
            Some(stored) => {
                self.progress.publish(&stored).await;
                Ok(outcome)
            }
            None => Ok("lost"),
        }
    }

    /// Does work on the database until it can be done, or the service stops.
    pub(super) async fn retrying<T, F>(&self, work: impl Fn() -> F) -> Work<T>
    where
        F: Future<Output = Result<T, MediaError>>,
    {
        let retries = counter!("sightline_audio_retries_total", "operation" => "store");
        let mut retry =
            Retry::new("the work on a book cannot be stored", backoff::STORE, &self.shutdown.stop).counted(retries);
        loop {
            match work().await {
                Ok(done) => return Ok(done),
                Err(error) if is_transient(&error) => {
                    tracing::warn!(%error, "the work on a book cannot be stored; trying again");
                    retry.wait().await.map_err(|_| Unfinished::Stopped)?;
                }
                Err(error) => return Err(Unfinished::Refused(error)),
            }
        }
    }

    /// A time after now.
    pub(super) fn in_seconds(&self, seconds: i64) -> Timestamp {
        let now = self.pipelines.now();
        now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    }
}

/// The end of a step whose work or whose effect the database refuses.
fn refused(record: &PipelineRecord, error: &MediaError) -> StepEnd {
    tracing::error!(%error, book.id = %record.book, step = %record.step, "a step of a book failed");
    StepEnd::Failed(Cause::new(codes::INTERNAL, error.to_string()))
}

/// Why work was given back.
pub(super) fn stopped() -> Cause {
    Cause::new(codes::WORKER_STOPPED, "")
}

/// Whether a repeat may succeed.
fn is_transient(error: &MediaError) -> bool {
    match error {
        MediaError::Store(StoreError::Unavailable(_) | StoreError::DiskFull(_)) | MediaError::Changed => true,
        MediaError::Store(StoreError::Misconfigured(_) | StoreError::Fatal(_))
        | MediaError::UnknownBook
        | MediaError::NotReached { .. }
        | MediaError::Damaged(_) => false,
    }
}
