//! The work on audiobooks: steps, windows, results that were paid for, calls of providers with their cost, and states of providers. `media`
//! decides what follows from what; here it is stored.
//!
//! Guarantees, on either database and from several processes:
//! - A pipeline is changed from the revision that the caller has seen, or not at all.
//! - A window is done once, in one transaction with its text. The last one wakes its pipeline in the same transaction.
//! - A task is handed to one caller at a time. A task without a report is handed out again after a while.
//! - A call is reserved before it is made, within the caps, and what is not settled stays spent.
//! - A checkpoint that a window has is not swept.
//!
//! Locks are taken in one order: the book, its pipeline, its windows, checkpoints; of money, the book's sum before the day's.

mod calls;
mod checkpoints;
mod claims;
mod finished_windows;
mod ledger;
mod provider_list;
mod provider_states;
mod records;
#[cfg(test)]
pub(super) mod tests;
mod text_parts;
mod window_records;
mod windows;

use contracts::{BookId, MediaStep};

use super::values::{Row, unreadable};
use crate::StoreError;

pub use calls::{CallCaps, CallFilter, CallPrice, CallRecord, CallState, NewCall, ReserveOutcome, Settlement, Spent};
pub use checkpoints::{CheckpointRecord, MAX_CHECKPOINT_BYTES, NewCheckpoint};
pub use provider_list::{ListedProvider, NewListedProvider, ProviderTrial};
pub use provider_states::ProviderStateRecord;
pub use records::{PipelineExtras, PipelineRecord};
pub use text_parts::MAX_TEXT_PARTS;
pub use window_records::{MAX_WINDOWS, WindowRecord, WindowResult, WindowState};

/// Maximum number of rows that a list returns at once.
const MAX_PAGE: u32 = 200;
/// Maximum number of texts that are read at once.
const MAX_TEXTS: u32 = 64;

/// The columns of a pipeline in every statement that reads one.
macro_rules! pipeline_columns {
    () => {
        "book_id, generation, step, state, cause, detail, provider_group, budget_micro, source, windows_total, \
         windows_done, transcript, texts, crashes, revision, wake_at, started_at, updated_at"
    };
}
pub(super) use pipeline_columns;

fn book(row: &Row) -> Result<BookId, StoreError> {
    Ok(BookId::from_uuid(row.get("book_id")?))
}

fn step(row: &Row, column: &str) -> Result<MediaStep, StoreError> {
    row.get::<String>(column)?.parse().map_err(|error: String| unreadable(column, &error))
}

/// A number that is never large.
fn small(row: &Row, column: &str) -> Result<u32, StoreError> {
    u32::try_from(row.get::<i64>(column)?).map_err(|error| unreadable(column, &error))
}

/// A number that is never large, or NULL.
fn optional_small(row: &Row, column: &str) -> Result<Option<u32>, StoreError> {
    row.get::<Option<i64>>(column)?.map(u32::try_from).transpose().map_err(|error| unreadable(column, &error))
}

/// A number that is never negative.
fn large(row: &Row, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.get::<i64>(column)?).map_err(|error| unreadable(column, &error))
}

/// A number that is never negative, or NULL.
fn optional_large(row: &Row, column: &str) -> Result<Option<u64>, StoreError> {
    row.get::<Option<i64>>(column)?.map(u64::try_from).transpose().map_err(|error| unreadable(column, &error))
}

/// A SHA-256; `None` if it is empty.
fn hash(row: &Row, column: &str) -> Result<Option<[u8; 32]>, StoreError> {
    let bytes: Vec<u8> = row.get(column)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    bytes.try_into().map(Some).map_err(|_| unreadable(column, &"it has another length"))
}

/// A hash for the database.
fn hash_bytes(hash: Option<&[u8; 32]>) -> &[u8] {
    match hash {
        Some(hash) => hash,
        None => &[],
    }
}

/// A number for the database.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
