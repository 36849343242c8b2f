//! Storage: documents in MongoDB or SQLite ([`Documents`]), images in S3 or a folder ([`Blobs`]), audio files there too ([`Media`]),
//! accounts in PostgreSQL or SQLite, with enrolled faces ([`relational`]).
//!
//! In: results and alerts from the indexer, rules and streams from the API, images from the API and the workers. Out: pages, counts
//! and images.
//!
//! Guarantees:
//! - [`ResultStore::put`] returns after everything is durable (MongoDB: journaled by a majority; SQLite: synced to disk).
//! - The first result of a frame and detector wins.
//! - A subject that was forgotten is in no document of its tenant, on no watchlist and on no kept image ([`forget_subject`]).
//! - A document past its `expires_at` is never returned, even if the database has not deleted it yet.
//!
//! One contract suite runs against every implementation.

mod args;
mod blobs;
mod eraser;
mod expiring_texts;
mod files_in_use;
mod frame_pages;
mod media;
mod media_sweep;
mod migrated;
mod mongo;
mod object_blobs;
mod page_cursor;
mod query;
mod recognitions;
pub mod relational;
mod results;
mod rows_with;
mod rules;
mod schema_step;
mod sqlite;
mod sqlite_copy;
mod stored_docs;
mod streams;
mod watchlists;

pub use args::{BlobArgs, DatabaseArgs, GalleryArgs, MongoArgs};
pub use blobs::Blobs;
pub use eraser::{Erased, TenantEraser, face_eraser, tenant_erasers};
pub use expiring_texts::ExpiringTexts;
pub use files_in_use::{FileLost, FilesInUse};
pub use media::{
    MAX_PARTS, Media, MediaArgs, MediaFacts, MediaKey, MediaKeyError, MediaStream, MultipartId, PART_BYTES, PartFacts,
    attachment, media_folder, open_media,
};
pub use media_sweep::{end_media_upload, sweep_media};
pub use migrated::Migrated;
pub use mongo::MongoDocuments;
pub use object_blobs::ObjectBlobs;
pub use page_cursor::{CursorError, List, PageCursor};
pub use recognitions::{Forgotten, Recognised, RecognitionStore, RejectedIdentity, forget_subject};
pub use relational::{
    MAX_OPEN_UPLOADS, MediaUploadRecord, MediaUploadState, NewMediaUpload, Relational, UploadProgress,
};
pub use results::{
    AlertFilter, DetectionFilter, FrameFilter, GroupBy, GroupCounts, Indexed, PageRequest, PutOutcome, ResultStore,
    StoreError, StoredAlert, StoredDetection, StoredResult, TenantScope,
};
pub use rows_with::{Owner, TableRows, has_any, sqlite_rows_with};
pub use rules::{PutRuleOutcome, RuleStore};
pub use sqlite::SqliteDocuments;
pub use sqlite_copy::{copy_accounts, copy_documents, copy_sqlite};
pub use streams::{
    FrameSpan, LagSearch, PutStreamOutcome, SentFrames, SettingsOfStream, StoredReport, StoredStream, StreamActivity,
    StreamSettings, StreamStore,
};
pub use watchlists::{PutWatchlistOutcome, Watchlist, WatchlistMemberOutcome, WatchlistRevision, WatchlistStore};

/// All collections of documents: a trait for each, in a file of its own. Share it as `Arc<dyn Documents>`.
pub trait Documents: ResultStore + RuleStore + StreamStore + RecognitionStore + WatchlistStore {}

impl<T: ResultStore + RuleStore + StreamStore + RecognitionStore + WatchlistStore> Documents for T {}
