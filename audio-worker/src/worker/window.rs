//! One window: its samples, and its text from a provider.

use std::sync::Arc;

use contracts::{BookId, MediaTask};
use jiff::Timestamp;
use media::{Cause, MediaError, codes};
use store::relational::{AssetRecord, PipelineRecord, WindowRecord};
use tokio_util::sync::CancellationToken;

use super::book::Unreadable;
use super::held::Held;
use super::plan::READ_AGAIN;
use super::steps::{Steps, Unfinished, Work, stopped};
use crate::providers::{Outcome, TranscribeJob, WindowAhead, WindowAnswer};

/// Samples in a millisecond.
const SAMPLES_A_MS: u64 = 16;

/// How the work on a window ends.
enum WindowEnd {
    /// With its text.
    Text(WindowAnswer),
    /// It goes on later.
    Waits(Timestamp, Cause),
    /// It goes on when an admin has resumed the book.
    Failed(Cause),
}

impl WindowEnd {
    fn of(outcome: Outcome<WindowAnswer>) -> Self {
        match outcome {
            Outcome::Done(answer) => Self::Text(answer),
            Outcome::Wait { until, cause } => Self::Waits(until, cause),
            Outcome::Failed { cause } => Self::Failed(cause),
        }
    }
}

/// The end of a window whose work or whose text the database refuses.
fn refused(window: &WindowRecord, error: &MediaError) -> WindowEnd {
    tracing::error!(%error, book.id = %window.book, window = window.n, "a window of a book failed");
    WindowEnd::Failed(Cause::new(codes::INTERNAL, error.to_string()))
}

/// What is known of a window before it is decoded.
fn ahead<'a>(window: &WindowRecord, pipeline: &'a PipelineRecord) -> WindowAhead<'a> {
    WindowAhead {
        book: window.book,
        length_ms: window.end_ms.saturating_sub(window.start_ms),
        group: pipeline.group.as_deref(),
        budget_micro: pipeline.budget_micro,
    }
}

impl Steps {
    /// Transcribes the window of a task.
    pub(super) async fn window(&self, task: &MediaTask) -> Work<&'static str> {
        let Some(window) = self.retrying(|| self.pipelines.take_window(task)).await? else { return Ok("not_due") };
        let work = self.retrying(|| self.transcribe(&window));
        let end = match self.hold_window(&window, work).await {
            Held::Done((), Ok(end)) => end,
            Held::Done((), Err(Unfinished::Stopped)) => return Err(Unfinished::Stopped),
            Held::Done((), Err(Unfinished::Refused(error))) => refused(&window, &error),
            Held::Lost => return Ok("lost"),
            Held::GivenUp(()) => WindowEnd::Waits(self.pipelines.now(), stopped()),
        };
        match self.end_window(&window, end).await {
            // The window would be done, and paid for, again and again.
            Err(Unfinished::Refused(error)) => self.end_window(&window, refused(&window, &error)).await,
            ended => ended,
        }
    }

    async fn end_window(&self, window: &WindowRecord, end: WindowEnd) -> Work<&'static str> {
        match end {
            WindowEnd::Text(answer) => self.finish_window(window, &answer).await,
            WindowEnd::Waits(until, cause) => {
                if self.retrying(|| self.pipelines.release_window(window, until, &cause)).await? {
                    self.publish_progress(window.book).await?;
                }
                Ok("waits")
            }
            WindowEnd::Failed(cause) => {
                let (code, detail) = (&cause.code, &cause.detail);
                tracing::warn!(book.id = %window.book, window = window.n, code, detail, "a window of a book has failed");
                if let Some(failed) = self.retrying(|| self.pipelines.fail_window(window, &cause)).await? {
                    self.progress.publish(&failed).await;
                }
                Ok("failed")
            }
        }
    }

    async fn finish_window(&self, window: &WindowRecord, answer: &WindowAnswer) -> Work<&'static str> {
        let result = answer.result();
        if answer.checkpoint.is_none()
            && self.pipelines.database().checkpoint(&answer.key).await.is_ok_and(|kept| kept.is_none())
        {
            // Its text was found, and is not kept any more: it is made again.
            let cause = Cause::new(codes::INTERNAL, "its text is not kept any more");
            self.retrying(|| self.pipelines.release_window(window, self.pipelines.now(), &cause)).await?;
            return Ok("waits");
        }
        if let Some(pipeline) = self.retrying(|| self.pipelines.finish_window(window, &result)).await? {
            self.progress.publish(&pipeline).await;
        }
        Ok("done")
    }

    /// Publishes how far a book is.
    async fn publish_progress(&self, book: BookId) -> Work<()> {
        let pipeline = self
            .retrying(|| async move { Ok::<_, MediaError>(self.pipelines.database().pipeline(book).await?) })
            .await?;
        if let Some(pipeline) = pipeline {
            self.progress.publish(&pipeline).await;
        }
        Ok(())
    }

    async fn transcribe(&self, window: &WindowRecord) -> Result<WindowEnd, MediaError> {
        let Some(pipeline) = self.pipelines.database().pipeline(window.book).await? else {
            return Ok(WindowEnd::Failed(Cause::new(codes::BOOK_DELETED, "")));
        };
        let (book, master) = match self.master(window.book, pipeline.source).await? {
            Ok(found) => found,
            Err(unreadable) => return Ok(self.not_heard(unreadable)),
        };
        // The first time, a text of an earlier run may be there whoever can be called. After that nothing is decoded in vain.
        if window.taken > 1
            && let Some(obstacle) = self.providers.obstacle(&ahead(window, &pipeline)).await?
        {
            return Ok(WindowEnd::of(obstacle));
        }
        let samples = match self.samples(window, &master).await? {
            Ok(samples) => samples,
            Err(unreadable) => return Ok(self.not_heard(unreadable)),
        };
        let job = TranscribeJob {
            book: window.book,
            generation: window.generation,
            window: window.n,
            samples,
            language: book.language.as_deref(),
            group: pipeline.group.as_deref(),
            budget_micro: pipeline.budget_micro,
        };
        Ok(WindowEnd::of(Box::pin(self.providers.transcribe(&job)).await?))
    }

    /// The sound of a window.
    async fn samples(
        &self,
        window: &WindowRecord,
        master: &AssetRecord,
    ) -> Result<Result<Arc<[f32]>, Unreadable>, MediaError> {
        let cancelled = CancellationToken::new();
        let _cancel = cancelled.clone().drop_guard();
        let object = self.object(master, cancelled);
        let range = (window.start_ms * SAMPLES_A_MS, window.end_ms * SAMPLES_A_MS);
        let sounds = self.sounds.clone();
        let reading = tokio::task::spawn_blocking(move || sounds.read(object, range));
        let samples = reading
            .await
            .map_err(|error| MediaError::Damaged(format!("the thread that read a recording ended: {error}")))?;
        Ok(samples.map(Arc::from).map_err(Unreadable::from))
    }

    fn not_heard(&self, unreadable: Unreadable) -> WindowEnd {
        match unreadable {
            Unreadable::Later(cause) => WindowEnd::Waits(self.in_seconds(READ_AGAIN), cause),
            Unreadable::Never(cause) => WindowEnd::Failed(cause),
        }
    }
}
