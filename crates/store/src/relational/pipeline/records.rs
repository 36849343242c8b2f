//! Pipelines: how far the work on a book is.

use contracts::{BookId, MediaStep, PipelineState, whole_microseconds};
use jiff::Timestamp;

use super::{book, hash, hash_bytes, optional_small, pipeline_columns, small, step};
use crate::StoreError;
use crate::relational::audit::AuditEntry;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, Value, unreadable, values};

/// How far the work on a book is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineRecord {
    /// The book.
    pub book: BookId,
    /// One more with each redo and each new file.
    pub generation: u32,
    /// The first step that is not done.
    pub step: MediaStep,
    /// State of the work on it.
    pub state: PipelineState,
    /// The code of why it waits or has failed.
    pub cause: Option<String>,
    /// What that is about.
    pub detail: Option<String>,
    /// The group of providers that an admin chose; `None`: as configured.
    pub group: Option<String>,
    /// What the book may cost, if an admin set it.
    pub budget_micro: Option<i64>,
    /// SHA-256 of the file that this generation is of.
    pub source: Option<[u8; 32]>,
    /// Number of windows; `None` before they are known.
    pub windows_total: Option<u32>,
    /// Number of windows that are done.
    pub windows_done: u32,
    /// The generation whose windows are the transcript that is served.
    pub transcript: Option<u32>,
    /// The generation whose texts are served.
    pub texts: Option<u32>,
    /// How often a worker ended in the middle of the step.
    pub crashes: u32,
    /// One more with each change.
    pub revision: i64,
    /// When its task is published next; `None` if it waits for its windows or for an admin, or is done.
    pub wake_at: Option<Timestamp>,
    /// When the work on the book began.
    pub started_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What is stored with a change of a pipeline, in its transaction.
#[derive(Debug, Clone, Copy, Default)]
pub struct PipelineExtras<'a> {
    /// Its windows that are not done are due at once.
    pub retry_windows: bool,
    /// Windows and texts of generations that are neither this one nor served are deleted.
    pub drop_earlier: bool,
    /// An entry of the audit log.
    pub audit: Option<&'a AuditEntry>,
}

const PIPELINE: &str = concat!("SELECT ", pipeline_columns!(), " FROM pipelines WHERE book_id = $1");

const INSERT: &str = concat!(
    "INSERT INTO pipelines (",
    pipeline_columns!(),
    ") SELECT id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, $15, $16, $16 FROM books \
     WHERE id = $1 AND status <> 'deleted' ON CONFLICT DO NOTHING RETURNING ",
    pipeline_columns!()
);

const UPDATE: &str = concat!(
    "UPDATE pipelines SET generation = $2, step = $3, state = $4, cause = $5, detail = $6, provider_group = $7, \
     budget_micro = $8, source = $9, windows_total = $10, windows_done = $11, transcript = $12, texts = $13, \
     crashes = $14, revision = revision + 1, wake_at = $15, updated_at = $16 WHERE book_id = $1 AND revision = $17 \
     RETURNING ",
    pipeline_columns!()
);

impl PipelineRecord {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let state: String = row.get("state")?;
        Ok(Self {
            book: book(row)?,
            generation: small(row, "generation")?,
            step: step(row, "step")?,
            state: state.parse().map_err(|error: String| unreadable("state", &error))?,
            cause: row.get("cause")?,
            detail: row.get("detail")?,
            group: row.get("provider_group")?,
            budget_micro: row.get("budget_micro")?,
            source: hash(row, "source")?,
            windows_total: optional_small(row, "windows_total")?,
            windows_done: small(row, "windows_done")?,
            transcript: optional_small(row, "transcript")?,
            texts: optional_small(row, "texts")?,
            crashes: small(row, "crashes")?,
            revision: row.get("revision")?,
            wake_at: row.get("wake_at")?,
            started_at: row.get("started_at")?,
            updated_at: row.get("updated_at")?,
        })
    }

    /// Whether the windows are known and all done.
    pub fn are_windows_done(&self) -> bool {
        self.windows_total.is_some_and(|total| self.windows_done >= total)
    }

    /// The arguments `$1` to `$16` of both statements.
    fn values(&self, now: Timestamp) -> Vec<Value> {
        values![
            self.book,
            i64::from(self.generation),
            self.step.as_str(),
            self.state.as_str(),
            &self.cause,
            &self.detail,
            &self.group,
            self.budget_micro,
            hash_bytes(self.source.as_ref()),
            self.windows_total.map(i64::from),
            i64::from(self.windows_done),
            self.transcript.map(i64::from),
            self.texts.map(i64::from),
            i64::from(self.crashes),
            self.wake_at.map(whole_microseconds),
            whole_microseconds(now),
        ]
    }
}

impl Relational {
    /// The pipeline of a book.
    pub async fn pipeline(&self, book: BookId) -> Result<Option<PipelineRecord>, StoreError> {
        self.row(PIPELINE, values![book]).await?.as_ref().map(PipelineRecord::read).transpose()
    }

    /// Stores a pipeline as it is to be, if its revision is still the one that the caller has `seen`; without one it must be new. Returns it as
    /// it is stored. `None` if it has another revision, or there is no such book.
    pub async fn put_pipeline(
        &self,
        wanted: &PipelineRecord,
        seen: Option<i64>,
        extras: &PipelineExtras<'_>,
        now: Timestamp,
    ) -> Result<Option<PipelineRecord>, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(stored) = transaction.put_pipeline(wanted, seen, now).await? else { return Ok(None) };
        if extras.retry_windows {
            transaction.retry_windows(&stored, now).await?;
        }
        if extras.drop_earlier {
            transaction.drop_earlier(&stored, now).await?;
        }
        transaction.add_audit_entry(extras.audit).await?;
        transaction.commit().await?;
        Ok(Some(stored))
    }
}

impl Transaction {
    pub(super) async fn put_pipeline(
        &mut self,
        wanted: &PipelineRecord,
        seen: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<PipelineRecord>, StoreError> {
        let mut values = wanted.values(now);
        let row = match seen {
            Some(seen) => {
                values.push(seen.into());
                self.row(UPDATE, values).await?
            }
            None => self.row(INSERT, values).await?,
        };
        row.as_ref().map(PipelineRecord::read).transpose()
    }

    /// Ends the work on a locked book that is being deleted.
    pub(in crate::relational) async fn end_pipeline(&mut self, book: BookId, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE pipelines SET state = 'failed', cause = 'book_deleted', detail = NULL, wake_at = NULL, \
                   revision = revision + 1, updated_at = $2 WHERE book_id = $1 AND state <> 'done'";
        if self.execute(sql, values![book, whole_microseconds(now)]).await? == 1 {
            self.park_windows(book).await?;
        }
        Ok(())
    }
}
