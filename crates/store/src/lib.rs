//! Where things are kept: documents in MongoDB or SQLite, images in S3 or a folder, each behind a small seam; accounts in
//! PostgreSQL or SQLite, see [`relational`].
//!
//! In: results and alerts from the indexer, rules from the API, images from the API and the workers. Out: pages, counts
//! and images. Promised: [`Documents::put`] returns when everything is durable (MongoDB: majority, journaled; SQLite:
//! committed), the first result of a frame's detector wins, and nothing past its `expires_at` is ever returned, whether or
//! not the database has swept it yet. One contract suite runs against every implementation.

mod args;
mod blobs;
mod documents;
mod eraser;
mod frame_pages;
mod migrated;
mod mongo;
mod object_blobs;
mod page_cursor;
mod query;
pub mod relational;
mod sqlite;
mod stored_docs;

pub use args::{BlobArgs, DatabaseArgs, MongoArgs};
pub use blobs::Blobs;
pub use documents::{
    AlertFilter, DetectionFilter, Documents, FrameFilter, GroupBy, GroupCounts, Indexed, PageCursor, PageRequest,
    PutOutcome, PutRuleOutcome, StoreError, StoredAlert, StoredDetection, StoredResult, TenantScope,
};
pub use eraser::{Erased, TenantEraser, tenant_erasers};
pub use migrated::Migrated;
pub use mongo::MongoDocuments;
pub use object_blobs::ObjectBlobs;
pub use page_cursor::CursorError;
pub use relational::Relational;
pub use sqlite::SqliteDocuments;
