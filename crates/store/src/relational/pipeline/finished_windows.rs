//! Ends of the work on a window: done, put off, failed. Each locks the pipeline first, which counts its windows.

use contracts::whole_microseconds;
use jiff::Timestamp;

use super::{PipelineRecord, WindowRecord, WindowResult, pipeline_columns};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::values;

/// Counts a window that is done. The last one makes the step due.
const COUNT: &str = concat!(
    "UPDATE pipelines SET windows_done = windows_done + 1, revision = revision + 1, updated_at = $3, \
     wake_at = CASE WHEN state <> 'failed' AND windows_done + 1 >= windows_total THEN $3 ELSE wake_at END, \
     cause = CASE WHEN state = 'failed' THEN cause ELSE NULL END, \
     detail = CASE WHEN state = 'failed' THEN detail ELSE NULL END, \
     state = CASE WHEN state = 'failed' THEN 'failed' WHEN windows_done + 1 >= windows_total THEN 'due' ELSE 'running' END \
     WHERE book_id = $1 AND generation = $2 AND step = 'transcribe' RETURNING ",
    pipeline_columns!()
);

const FAIL: &str = concat!(
    "UPDATE pipelines SET state = 'failed', cause = $3, detail = $4, wake_at = NULL, revision = revision + 1, \
     updated_at = $5 WHERE book_id = $1 AND generation = $2 AND step = 'transcribe' RETURNING ",
    pipeline_columns!()
);

impl Relational {
    /// Records that a window is done, with its text. Returns the pipeline; the last window has made it due. `None` if the window is done or
    /// gone.
    ///
    /// # Errors
    /// `Unavailable` if the result has no text and its key has none either: it must be made again.
    pub async fn finish_window(
        &self,
        window: &WindowRecord,
        result: &WindowResult<'_>,
        now: Timestamp,
    ) -> Result<Option<PipelineRecord>, StoreError> {
        let (book, generation) = (window.book, i64::from(window.generation));
        let mut transaction = self.begin().await?;
        let counted = transaction.row(COUNT, values![book, generation, whole_microseconds(now)]).await?;
        let Some(pipeline) = counted else { return Ok(None) };
        let sql = "UPDATE windows SET state = 'done', checkpoint_key = $4, provider = $5, model = $6, flag = $7, cause = NULL, \
                   detail = NULL, wake_at = NULL WHERE book_id = $1 AND generation = $2 AND number = $3 AND state <> 'done'";
        let WindowResult { key, provider, model, flag, checkpoint } = result;
        let row = values![book, generation, i64::from(window.n), &key[..], *provider, *model, *flag];
        if transaction.execute(sql, row).await? == 0 {
            return Ok(None);
        }
        if let Some(checkpoint) = checkpoint {
            transaction.put_checkpoint(checkpoint, now).await?;
        }
        transaction.keep_checkpoint(key).await?;
        transaction.commit().await?;
        PipelineRecord::read(&pipeline).map(Some)
    }

    /// Puts a window off until a time, for the worker that has taken it. Its pipeline waits with the cause until another window is done.
    /// `false` if the window is not that worker's any more.
    pub async fn release_window(
        &self,
        window: &WindowRecord,
        at: Timestamp,
        cause: &str,
        detail: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE pipelines SET state = 'waiting', cause = $3, detail = $4, revision = revision + 1, updated_at = $5 \
                   WHERE book_id = $1 AND generation = $2 AND step = 'transcribe' AND state <> 'failed'";
        let arguments = values![window.book, i64::from(window.generation), cause, detail, whole_microseconds(now)];
        let is_going_on = transaction.execute(sql, arguments).await? == 1;
        let at = is_going_on.then_some(at);
        if !transaction.end_of_work(window, "due", at, cause, detail).await? {
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Records that a window has failed, for the worker that has taken it. Its pipeline fails with it, and its other windows wait for an admin;
    /// those that workers have may be finished. `None` if the window is not that worker's any more.
    pub async fn fail_window(
        &self,
        window: &WindowRecord,
        cause: &str,
        detail: &str,
        now: Timestamp,
    ) -> Result<Option<PipelineRecord>, StoreError> {
        let mut transaction = self.begin().await?;
        let arguments = values![window.book, i64::from(window.generation), cause, detail, whole_microseconds(now)];
        let Some(pipeline) = transaction.row(FAIL, arguments).await? else { return Ok(None) };
        if !transaction.end_of_work(window, "failed", None, cause, detail).await? {
            return Ok(None);
        }
        transaction.park_windows(window.book).await?;
        transaction.commit().await?;
        PipelineRecord::read(&pipeline).map(Some)
    }
}

impl Transaction {
    /// Takes a window from the worker that has it.
    async fn end_of_work(
        &mut self,
        window: &WindowRecord,
        state: &'static str,
        at: Option<Timestamp>,
        cause: &str,
        detail: &str,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE windows SET state = $5, wake_at = $6, cause = $7, detail = $8, published = 0 \
                   WHERE book_id = $1 AND generation = $2 AND number = $3 AND taken = $4 AND state = 'running'";
        let WindowRecord { book, generation, n, taken, .. } = window;
        let (generation, number, taken) = (i64::from(*generation), i64::from(*n), i64::from(*taken));
        let at = at.map(whole_microseconds);
        let arguments = values![*book, generation, number, taken, state, at, cause, detail];
        Ok(self.execute(sql, arguments).await? == 1)
    }
}
