//! Accounts in PostgreSQL or SQLite: users, credentials, revocations, quotas, the audit log, enrolled faces (`faces`), the shop (`shop`), and the
//! work on its audiobooks (`pipeline`).
//!
//! Stores and returns records; `accounts` makes the decisions. Passwords and tokens arrive as hashes only.
//! Guarantees: a write is committed before its call returns; of several concurrent attempts to use a token or claim a name
//! exactly one succeeds, and a frame is counted once, on either database and from several processes;
//! repeated calls of [`Relational::revocations_after`] return every revocation.
//!
//! Every statement is written once and runs on both databases. They differ in connections (`database.rs`), errors
//! (`failure.rs`), types (`values.rs`) and tables (`migrations/`), because PostgreSQL has types for UUIDs and times, and SQLite
//! stores texts and numbers.

mod answers;
mod api_tokens;
mod audit;
mod database;
mod deleted_tenants;
mod deletion_times;
mod email_keys;
mod faces;
mod failure;
mod foreign_database;
mod identities;
mod login_keys;
mod media_uploads;
mod migrations;
mod passwords;
mod pipeline;
mod quota;
mod revocations;
mod rows_with;
mod sessions;
mod shop;
mod signing_keys;
mod sweep;
mod transaction;
mod user_records;
mod users;
mod values;

#[cfg(test)]
mod foreign_ids;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod test_database;

pub use answers::{ANSWER_LIFE, AnswerCache, CachedAnswer, LocalAnswers};
pub use api_tokens::{ApiTokenOwner, ApiTokenRecord, ApiTokenWriteOutcome, MAX_API_TOKENS, NewApiToken};
pub use audit::AuditEntry;
pub use database::{DEFAULT_SUBJECT_LIMIT, Relational};
pub use deleted_tenants::DeletedTenant;
pub use faces::{
    Coverage, DecidedUpload, DeletedSubject, EnrolledRecord, ErasedFaces, FaceCounts, FaceModels, FaceSearch,
    FaceToEmbed, FormerSubject, Gap, MAX_EXTERNAL_ID_BYTES, MAX_METADATA_BYTES, MAX_SUBJECT_NAME_BYTES,
    MAX_SUBJECTS_PAGE, MAX_VECTORS_AT_ONCE, MAX_VECTORS_OF_SUBJECT, MergeOutcome, Metadata, NewSubject, NewUpload,
    PhotoStatus, REMOVALS_KEPT, SourcedVector, SubjectChange, SubjectRecord, SubjectWithout, SubjectWriteOutcome,
    SwitchOutcome, UploadDecision, UploadPlace, UploadedFace, VectorWriteOutcome,
};
pub use identities::{Identity, LinkedIdentity};
pub use login_keys::login_key;
pub use media_uploads::{MAX_OPEN_UPLOADS, MediaUploadRecord, MediaUploadState, NewMediaUpload, UploadProgress};
pub(crate) use migrations::COMPATIBLE_VERSIONS;
#[cfg(test)]
pub(crate) use migrations::effects;
pub use migrations::init_sql;
pub use passwords::{PasswordHash, PasswordReset, TokenHash};
pub use pipeline::{
    CallCaps, CallFilter, CallPrice, CallRecord, CallState, CheckpointRecord, ListedProvider, MAX_CHECKPOINT_BYTES,
    MAX_TEXT_PARTS, MAX_WINDOWS, NewCall, NewCheckpoint, NewListedProvider, PipelineExtras, PipelineRecord,
    ProviderStateRecord, ProviderTrial, ReserveOutcome, Settlement, Spent, WindowRecord, WindowResult, WindowState,
};
pub use quota::{Charge, ChargeOutcome};
pub use revocations::{Revocation, RevocationKind};
pub use sessions::{NewSession, RotationOutcome, SessionRecord};
pub use shop::{
    AssetRecord, AssetWriteOutcome, BookChange, BookDescription, BookFilter, BookRecord, BookWriteOutcome, CartLine,
    CartOutcome, CartRecord, CategoryRecord, DescribedCategory, Description, KeptOrderRecord, MAX_CART_LINES,
    MAX_CATEGORIES, MAX_CATEGORIES_OF_BOOK, MAX_SHOP_PAGE, MockPaymentRecord, MockPaymentState, NewBook, NewOrder,
    OpenOrderOutcome, OrderLine, OrderRecord, PaymentRecord, Position, PurchaseRecord, RefundOutcome, SettleOutcome,
};
pub use signing_keys::{KeyRotation, SigningKeyRecord, VerifyingKeyRecord};
pub use user_records::{
    AccessChange, NewUser, ProfileChange, Role, UserLimit, UserRecord, UserState, UserWriteOutcome,
};
