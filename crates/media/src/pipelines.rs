//! Pipelines in the database: requests of admins, and tasks of workers.
//!
//! Each change is made from what is stored now, and made again if somebody else was first. A worker's change also needs that the worker still has
//! the step.

mod view;
mod work;

use contracts::{BookId, MediaStep, MediaTask};
use jiff::{SignedDuration, Timestamp};
use store::relational::{AuditEntry, PipelineExtras, PipelineRecord, Relational};

use crate::clock::Clock;
use crate::error::MediaError;
use crate::steps::{self, Change, Request};

pub use view::TranscriptPage;

/// Time between two claims of a worker that has nothing to do.
pub const CLAIM_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);
/// Windows of all books that are published and not done. Four for each of twelve partitions, so that no worker waits, and few enough
/// that little of a failed book, or of one that was redone, is still in the queue.
pub const IN_FLIGHT: u32 = 48;
/// Steps that one call claims.
const STEPS_AT_ONCE: u32 = 48;
/// How often a change is tried while others change the pipeline.
const ATTEMPTS: usize = 5;
/// Calls that one sweep makes unknown.
const SWEPT: u32 = 1_000;

/// The pipelines of all books. Cheap to clone.
#[derive(Clone)]
pub struct Pipelines {
    database: Relational,
    clock: Clock,
}

impl Pipelines {
    /// The pipelines in a database.
    pub const fn new(database: Relational, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// The database.
    pub const fn database(&self) -> &Relational {
        &self.database
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Begins the work on a book after an upload; `source` is the SHA-256 of its file. With another file than before it begins again, with the
    /// same one it goes on.
    ///
    /// # Errors
    /// As those of [`Self::resume`].
    pub async fn start(
        &self,
        book: BookId,
        source: Option<[u8; 32]>,
        audit: Option<&AuditEntry>,
    ) -> Result<PipelineRecord, MediaError> {
        self.resume(book, source, &Request::default(), audit).await
    }

    /// Goes on at the first step that is not done; `source` is the SHA-256 of the book's file, if it has one.
    ///
    /// # Errors
    /// `UnknownBook`, `Changed` if others change it all the time, `Store`.
    pub async fn resume(
        &self,
        book: BookId,
        source: Option<[u8; 32]>,
        request: &Request,
        audit: Option<&AuditEntry>,
    ) -> Result<PipelineRecord, MediaError> {
        for _ in 0..ATTEMPTS {
            let (known, now) = (self.database.pipeline(book).await?, self.now());
            let (change, seen) = match &known {
                Some(known) => (steps::resumed(known, source, request, now), Some(known.revision)),
                None => (steps::first(book, source, request, now), None),
            };
            if let Some(known) = known.filter(|known| *known == change.record) {
                // Nothing is written, so a worker that has the step is not disturbed.
                return Ok(known);
            }
            if let Some(stored) = self.put(&change, seen, audit).await? {
                return Ok(stored);
            }
        }
        self.no_change(book).await
    }

    /// Does a step again, and all that come after it. What was there stays served until the new is complete.
    ///
    /// # Errors
    /// `NotReached` if the step was not reached yet, or has nothing to begin with; otherwise as those of [`Self::resume`].
    pub async fn redo(
        &self,
        book: BookId,
        from: MediaStep,
        source: Option<[u8; 32]>,
        request: &Request,
        audit: Option<&AuditEntry>,
    ) -> Result<PipelineRecord, MediaError> {
        for _ in 0..ATTEMPTS {
            let Some(known) = self.database.pipeline(book).await? else {
                return Err(MediaError::NotReached { from, at: MediaStep::Upload });
            };
            let change = steps::redone(&known, from, source, request, self.now())?;
            if let Some(stored) = self.put(&change, Some(known.revision), audit).await? {
                return Ok(stored);
            }
        }
        self.no_change(book).await
    }

    /// The tasks that are to be published now. Each is returned to one caller, and again later if no worker has reported on it.
    ///
    /// # Errors
    /// `Store`.
    pub async fn claim_due(&self) -> Result<Vec<MediaTask>, MediaError> {
        let now = self.now();
        let mut tasks = self.database.claim_pipelines(now, STEPS_AT_ONCE).await?;
        tasks.extend(self.database.claim_windows(now, IN_FLIGHT).await?);
        Ok(tasks)
    }

    /// Makes everything due now that waits for a time. Call it after a change of the providers: what waits for the end of a cooldown may go on
    /// with another one. Returns the number of steps and windows.
    ///
    /// # Errors
    /// `Store`.
    pub async fn wake_waiting(&self) -> Result<u64, MediaError> {
        Ok(self.database.wake_waiting(self.now()).await?)
    }

    /// Marks calls as unknown that were not settled in time. Call it every minute. Returns their number.
    ///
    /// # Errors
    /// `Store`.
    pub async fn sweep(&self) -> Result<u64, MediaError> {
        Ok(self.database.expire_calls(self.now(), SWEPT).await?)
    }

    async fn put(
        &self,
        change: &Change,
        seen: Option<i64>,
        audit: Option<&AuditEntry>,
    ) -> Result<Option<PipelineRecord>, MediaError> {
        let Change { record, retry_windows, drop_earlier } = change;
        let extras = PipelineExtras { retry_windows: *retry_windows, drop_earlier: *drop_earlier, audit };
        Ok(self.database.put_pipeline(record, seen, &extras, self.now()).await?)
    }

    /// Why no change was made.
    async fn no_change<T>(&self, book: BookId) -> Result<T, MediaError> {
        match self.database.pipeline(book).await? {
            Some(_) => Err(MediaError::Changed),
            None => Err(MediaError::UnknownBook),
        }
    }

    /// A time after now.
    fn later(&self, by: SignedDuration) -> Timestamp {
        steps::later(self.now(), by)
    }
}
