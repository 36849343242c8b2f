//! Windows: planning, taking, reading.

use std::sync::LazyLock;

use contracts::{BookId, MediaTask, whole_microseconds};
use jiff::Timestamp;

use super::checkpoints::RETENTION;
use super::window_records::window_columns;
use super::{MAX_PAGE, MAX_TEXTS, MAX_WINDOWS, PipelineRecord, WindowRecord, stored};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

const WINDOWS: &str = concat!(
    "SELECT ",
    window_columns!(),
    " FROM windows WHERE book_id = $1 AND generation = $2 AND number >= $3 ORDER BY number LIMIT $4"
);

/// The windows with their texts. A body is empty where there is none.
const TEXTS: &str = "SELECT w.book_id, w.generation, w.number, w.start_ms, w.end_ms, w.state, w.taken, w.crashes, \
                     w.checkpoint_key, w.provider, w.model, w.flag, w.cause, w.detail, w.wake_at, c.key IS NOT NULL AS found, \
                     COALESCE(c.body, $5) AS body FROM windows w LEFT JOIN checkpoints c ON c.key = w.checkpoint_key \
                     WHERE w.book_id = $1 AND w.generation = $2 AND w.number >= $3 ORDER BY w.number LIMIT $4";

/// Windows that one statement stores: a long book has some thousand, and each statement is a round trip to PostgreSQL.
const WINDOWS_AT_ONCE: usize = 64;

/// Stores [`WINDOWS_AT_ONCE`] windows. The conflicts are those of a window that is there several times.
static INSERT: LazyLock<String> = LazyLock::new(|| {
    let row = |index: usize| {
        let number = 5 + 3 * index;
        let (start, end) = (number + 1, number + 2);
        format!("($1, $2, ${number}, ${start}, ${end}, 'due', 0, 0, 0, $3, $4)")
    };
    let rows: Vec<String> = (0..WINDOWS_AT_ONCE).map(row).collect();
    format!(
        "INSERT INTO windows (book_id, generation, number, start_ms, end_ms, state, published, taken, crashes, \
         checkpoint_key, wake_at) VALUES {} ON CONFLICT DO NOTHING",
        rows.join(", ")
    )
});

impl Relational {
    /// Stores the windows of the pipeline's generation with the pipeline as it is to be, if its revision is the one that the caller has `seen`.
    /// A window is its start and its end in milliseconds. `None` if the pipeline has another revision.
    ///
    /// # Errors
    /// `Fatal` for more than [`MAX_WINDOWS`].
    pub async fn put_plan(
        &self,
        wanted: &PipelineRecord,
        seen: i64,
        windows: &[(u64, u64)],
        now: Timestamp,
    ) -> Result<Option<PipelineRecord>, StoreError> {
        if windows.len() > MAX_WINDOWS {
            return Err(StoreError::Fatal(format!(
                "a book has at most {MAX_WINDOWS} windows, this one {}",
                windows.len()
            )));
        }
        let now = whole_microseconds(now);
        let mut transaction = self.begin().await?;
        let Some(pipeline) = transaction.put_pipeline(wanted, Some(seen), now).await? else { return Ok(None) };
        let (book, generation) = (pipeline.book, i64::from(pipeline.generation));
        let sql = "DELETE FROM windows WHERE book_id = $1 AND generation = $2";
        transaction.execute(sql, values![book, generation]).await?;
        transaction.insert_windows(&pipeline, windows, now).await?;
        transaction.drop_earlier(&pipeline, now).await?;
        transaction.commit().await?;
        Ok(Some(pipeline))
    }

    /// Takes a window for a worker until a time. `None` if it is done or has failed, somebody else has it, or it is of another step or
    /// generation than its book.
    pub async fn take_window(
        &self,
        task: &MediaTask,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<WindowRecord>, StoreError> {
        let Some(number) = task.window else { return Ok(None) };
        let sql = concat!(
            "UPDATE windows SET crashes = crashes + CASE WHEN state = 'running' THEN 1 ELSE 0 END, state = 'running', \
             published = 0, taken = taken + 1, cause = NULL, detail = NULL, wake_at = $4 \
             WHERE book_id = $1 AND generation = $2 AND number = $3 \
             AND (state IN ('due', 'queued') OR state = 'running' AND wake_at <= $5) \
             AND EXISTS (SELECT 1 FROM pipelines p WHERE p.book_id = $1 AND p.generation = $2 \
             AND p.step = 'transcribe' AND p.state <> 'failed') RETURNING ",
            window_columns!()
        );
        let (until, now) = (whole_microseconds(until), whole_microseconds(now));
        let mut transaction = self.begin().await?;
        let arguments = values![task.book, i64::from(task.generation), i64::from(number), until, now];
        let taken: Option<Row> = transaction.row(sql, arguments).await?;
        transaction.commit().await?;
        taken.as_ref().map(WindowRecord::read).transpose()
    }

    /// Keeps a window for the worker that has taken it, until a time. A worker that is late, for example after a failure of the database, keeps
    /// it too, as long as nobody else has taken it: its call may be paid for. `false` if it is not that worker's any more.
    pub async fn renew_window(&self, window: &WindowRecord, until: Timestamp) -> Result<bool, StoreError> {
        // A window that is queued again counts a crash, which there was not.
        let sql = "UPDATE windows SET crashes = crashes - CASE WHEN state = 'queued' AND crashes > 0 THEN 1 ELSE 0 END, \
                   state = 'running', wake_at = $5 WHERE book_id = $1 AND generation = $2 AND number = $3 \
                   AND taken = $4 AND state IN ('queued', 'running')";
        let WindowRecord { book, generation, n, taken, .. } = window;
        let (generation, number, taken) = (i64::from(*generation), i64::from(*n), i64::from(*taken));
        let renewed = self.execute(sql, values![*book, generation, number, taken, whole_microseconds(until)]).await?;
        Ok(renewed == 1)
    }

    /// Windows of a generation, in their order, from a number on; at most 200.
    pub async fn windows(
        &self,
        book: BookId,
        generation: u32,
        from: u32,
        limit: u32,
    ) -> Result<Vec<WindowRecord>, StoreError> {
        let limit = i64::from(limit.min(MAX_PAGE));
        let rows = self.rows(WINDOWS, values![book, i64::from(generation), i64::from(from), limit]).await?;
        rows.iter().map(WindowRecord::read).collect()
    }

    /// Windows of a generation with their texts, in their order, from a number on; at most 64.
    pub async fn window_texts(
        &self,
        book: BookId,
        generation: u32,
        from: u32,
        limit: u32,
    ) -> Result<Vec<(WindowRecord, Option<Vec<u8>>)>, StoreError> {
        let limit = i64::from(limit.min(MAX_TEXTS));
        let nothing: &[u8] = &[];
        let arguments = values![book, i64::from(generation), i64::from(from), limit, nothing];
        let rows = self.rows(TEXTS, arguments).await?;
        rows.iter().map(with_text).collect()
    }

    /// When the first window that waits goes on.
    pub async fn next_window_at(&self, book: BookId, generation: u32) -> Result<Option<Timestamp>, StoreError> {
        let sql =
            "SELECT min(wake_at) AS next_at FROM windows WHERE book_id = $1 AND generation = $2 AND state = 'due'";
        let row = self.row(sql, values![book, i64::from(generation)]).await?;
        row.map_or(Ok(None), |row| row.get("next_at"))
    }
}

/// A window with its text, if its key has one.
fn with_text(row: &Row) -> Result<(WindowRecord, Option<Vec<u8>>), StoreError> {
    let body = if row.get("found")? { Some(row.get("body")?) } else { None };
    Ok((WindowRecord::read(row)?, body))
}

impl Transaction {
    /// Stores the windows of a pipeline that has none.
    async fn insert_windows(
        &mut self,
        pipeline: &PipelineRecord,
        windows: &[(u64, u64)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let nothing: &[u8] = &[];
        let numbered: Vec<(i64, (u64, u64))> = (0..).zip(windows.iter().copied()).collect();
        for some in numbered.chunks(WINDOWS_AT_ONCE) {
            let mut values = values![pipeline.book, i64::from(pipeline.generation), nothing, now];
            for index in 0..WINDOWS_AT_ONCE {
                // The last one fills the rest, so that there is one statement for any number.
                let (number, (start, end)) = some[index.min(some.len() - 1)];
                values.extend(values![number, stored(start), stored(end)]);
            }
            self.execute(&INSERT, values).await?;
        }
        Ok(())
    }

    /// Makes the windows of a pipeline that are not done due at once. Those that are due already keep their time.
    pub(super) async fn retry_windows(&mut self, pipeline: &PipelineRecord, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE windows SET state = 'due', published = 0, crashes = 0, cause = NULL, detail = NULL, \
                   wake_at = CASE WHEN wake_at < $3 THEN wake_at ELSE $3 END \
                   WHERE book_id = $1 AND generation = $2 AND state IN ('due', 'failed')";
        let arguments = values![pipeline.book, i64::from(pipeline.generation), whole_microseconds(now)];
        self.execute(sql, arguments).await.map(drop)
    }

    /// Takes the windows of a failed pipeline out of the queue. A worker that has one may finish it.
    pub(super) async fn park_windows(&mut self, book: BookId) -> Result<(), StoreError> {
        let sql = "UPDATE windows SET state = 'due', wake_at = NULL WHERE book_id = $1 AND state IN ('due', 'queued')";
        self.execute(sql, values![book]).await.map(drop)
    }

    /// Deletes the windows and texts of generations that are neither the pipeline's nor served.
    pub(super) async fn drop_earlier(&mut self, pipeline: &PipelineRecord, now: Timestamp) -> Result<(), StoreError> {
        let generation = i64::from(pipeline.generation);
        let transcript = pipeline.transcript.map_or(generation, i64::from);
        let texts = pipeline.texts.map_or(generation, i64::from);
        let expiry = whole_microseconds(now).checked_add(RETENTION).unwrap_or(Timestamp::MAX);
        // A text that another window has stays for good.
        let sql = "UPDATE checkpoints SET expires_at = $4 WHERE key IN (SELECT w.checkpoint_key FROM windows w \
                   WHERE w.book_id = $1 AND w.generation <> $2 AND w.generation <> $3) AND NOT EXISTS (SELECT 1 \
                   FROM windows o WHERE o.checkpoint_key = checkpoints.key \
                   AND NOT (o.book_id = $1 AND o.generation <> $2 AND o.generation <> $3))";
        self.execute(sql, values![pipeline.book, generation, transcript, expiry]).await?;
        let sql = "DELETE FROM windows WHERE book_id = $1 AND generation <> $2 AND generation <> $3";
        self.execute(sql, values![pipeline.book, generation, transcript]).await?;
        let sql = "DELETE FROM text_parts WHERE book_id = $1 AND generation <> $2 AND generation <> $3";
        self.execute(sql, values![pipeline.book, generation, texts]).await.map(drop)
    }
}
