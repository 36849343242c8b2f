//! What workers do with tasks: take, renew, end.

use contracts::MediaTask;
use jiff::Timestamp;
use store::relational::{PipelineExtras, PipelineRecord, WindowRecord, WindowResult};

use super::{ATTEMPTS, Pipelines};
use crate::causes::{Cause, codes};
use crate::error::MediaError;
use crate::steps::{self, Change, LEASE, MAX_CRASHES, Taken};
use crate::windows::Window;

impl Pipelines {
    /// Takes the step of a task for [`LEASE`]. `None` if it is somebody else's, done, of an earlier run, or given up after [`MAX_CRASHES`] workers
    /// ended with it: the message is then finished without work.
    ///
    /// # Errors
    /// `Changed` if others change it all the time, `Store`.
    pub async fn take_step(&self, task: &MediaTask) -> Result<Option<PipelineRecord>, MediaError> {
        for _ in 0..ATTEMPTS {
            let Some(known) = self.database.pipeline(task.book).await? else { return Ok(None) };
            let (record, is_mine) = match steps::taken(&known, task, self.now()) {
                Taken::Mine(record) => (record, true),
                Taken::GivenUp(record) => (record, false),
                Taken::NotNow => return Ok(None),
            };
            let none = PipelineExtras::default();
            if let Some(stored) = self.database.put_pipeline(&record, Some(known.revision), &none, self.now()).await? {
                return Ok(Some(stored).filter(|_| is_mine));
            }
        }
        Err(MediaError::Changed)
    }

    /// Keeps a step for its worker for another [`LEASE`]. `None` if the worker has lost it and must stop.
    ///
    /// # Errors
    /// As those of [`Self::take_step`].
    pub async fn renew_step(&self, held: &PipelineRecord) -> Result<Option<PipelineRecord>, MediaError> {
        self.change_held(held, |known, now| Change { record: steps::renewed(known, now), ..kept(known) }).await
    }

    /// Stores the windows of a transcription, which then waits for them. Without any, the step is due again at once, to be ended. `None` if the
    /// worker has lost the step.
    ///
    /// # Errors
    /// As those of [`Self::take_step`]; also for more windows than a book may have.
    pub async fn plan(&self, held: &PipelineRecord, windows: &[Window]) -> Result<Option<PipelineRecord>, MediaError> {
        let spans: Vec<(u64, u64)> = windows.iter().map(|window| (window.start_ms(), window.end_ms())).collect();
        let count = u32::try_from(spans.len()).unwrap_or(u32::MAX);
        for _ in 0..ATTEMPTS {
            let Some(known) = self.still_held(held).await? else { return Ok(None) };
            let now = self.now();
            let planned = steps::planned(&known, count, now);
            if let Some(stored) = self.database.put_plan(&planned, known.revision, &spans, now).await? {
                return Ok(Some(stored));
            }
        }
        Err(MediaError::Changed)
    }

    /// Ends a step: the next one is due. `None` if the worker has lost it.
    ///
    /// # Errors
    /// As those of [`Self::take_step`].
    pub async fn finish_step(&self, held: &PipelineRecord) -> Result<Option<PipelineRecord>, MediaError> {
        self.change_held(held, steps::finished).await
    }

    /// Puts a step off until a time. `None` if the worker has lost it.
    ///
    /// # Errors
    /// As those of [`Self::take_step`].
    pub async fn wait_step(
        &self,
        held: &PipelineRecord,
        until: Timestamp,
        cause: &Cause,
    ) -> Result<Option<PipelineRecord>, MediaError> {
        self.change_held(held, |known, _| Change { record: steps::waiting(known, until, cause), ..kept(known) }).await
    }

    /// Fails a step until an admin resumes it. `None` if the worker has lost it.
    ///
    /// # Errors
    /// As those of [`Self::take_step`].
    pub async fn fail_step(&self, held: &PipelineRecord, cause: &Cause) -> Result<Option<PipelineRecord>, MediaError> {
        self.change_held(held, |known, _| Change { record: steps::failed(known, cause), ..kept(known) }).await
    }

    /// Takes the window of a task for [`LEASE`]. `None` as with [`Self::take_step`].
    ///
    /// # Errors
    /// `Store`.
    pub async fn take_window(&self, task: &MediaTask) -> Result<Option<WindowRecord>, MediaError> {
        let Some(window) = self.database.take_window(task, self.later(LEASE), self.now()).await? else {
            return Ok(None);
        };
        if window.crashes < MAX_CRASHES {
            return Ok(Some(window));
        }
        let place = format!("window {} at {} s", window.n, window.start_ms / 1_000);
        self.fail_window(&window, &Cause::new(codes::CRASHED, place)).await?;
        Ok(None)
    }

    /// Keeps a window for its worker for another [`LEASE`]. `false` if the worker has lost it.
    ///
    /// # Errors
    /// `Store`.
    pub async fn renew_window(&self, window: &WindowRecord) -> Result<bool, MediaError> {
        Ok(self.database.renew_window(window, self.later(LEASE)).await?)
    }

    /// Ends a window, with its text. The last one makes the step due. `None` if it was done before, or is not wanted any more: its text is then
    /// kept for a window with the same key, because it may have been paid for.
    ///
    /// # Errors
    /// `Store`; `Unavailable` in it if a result without a text has none in the database either.
    pub async fn finish_window(
        &self,
        window: &WindowRecord,
        result: &WindowResult<'_>,
    ) -> Result<Option<PipelineRecord>, MediaError> {
        let counted = self.database.finish_window(window, result, self.now()).await?;
        if counted.is_none()
            && let Some(checkpoint) = result.checkpoint
        {
            self.database.put_checkpoint(checkpoint, self.now()).await?;
        }
        Ok(counted)
    }

    /// Puts a window off until a time; its book waits with the cause. `false` if the worker has lost it.
    ///
    /// # Errors
    /// `Store`.
    pub async fn release_window(
        &self,
        window: &WindowRecord,
        until: Timestamp,
        cause: &Cause,
    ) -> Result<bool, MediaError> {
        Ok(self.database.release_window(window, until, &cause.code, &cause.detail, self.now()).await?)
    }

    /// Fails a window, and its book with it, until an admin resumes it. `None` if the worker has lost it.
    ///
    /// # Errors
    /// `Store`.
    pub async fn fail_window(
        &self,
        window: &WindowRecord,
        cause: &Cause,
    ) -> Result<Option<PipelineRecord>, MediaError> {
        Ok(self.database.fail_window(window, &cause.code, &cause.detail, self.now()).await?)
    }

    /// Makes a change of a step that its worker has.
    async fn change_held(
        &self,
        held: &PipelineRecord,
        change: impl Fn(&PipelineRecord, Timestamp) -> Change,
    ) -> Result<Option<PipelineRecord>, MediaError> {
        for _ in 0..ATTEMPTS {
            let Some(known) = self.still_held(held).await? else { return Ok(None) };
            let change = change(&known, self.now());
            if let Some(stored) = self.put(&change, Some(known.revision), None).await? {
                return Ok(Some(stored));
            }
        }
        Err(MediaError::Changed)
    }

    /// The pipeline as it is, if the worker still has the step: an admin may have changed the group or the budget meanwhile.
    async fn still_held(&self, held: &PipelineRecord) -> Result<Option<PipelineRecord>, MediaError> {
        let known = self.database.pipeline(held.book).await?;
        Ok(known.filter(|known| steps::is_held(known, held)))
    }
}

/// No change.
fn kept(known: &PipelineRecord) -> Change {
    Change { record: known.clone(), retry_windows: false, drop_earlier: false }
}
