//! Enrolled faces: subjects with their names, and the vectors of their faces. [`Relational`] is a [`gallery::VectorStore`].
//!
//! Guarantees, on either database and from several processes:
//! - Each call that writes is one transaction, and at most one change of a gallery's version.
//! - Versions of a gallery become visible in order, and never return.
//! - When the deletion of a subject or a vector returns, no later search finds it.
//! - A tenant never gets more subjects than the limit of the handle that adds them.
//! - A subject without a valid consent gets no vectors, and loses those it has when its consent ends.
//! - A call for one tenant neither reads nor changes what belongs to another.
//! - The vectors of one face have the same id for all models. A face is stored for the model that compares, or not at all: none is lost when
//!   the model is switched.
//!
//! Locks are taken in one order: the user, the number of a tenant's subjects, subjects by id, then `face_deleted_galleries`, then galleries by model,
//! then `face_model_gaps`, `face_models` and `user_faces`.

mod by_ids;
mod consent;
mod delete;
mod enrolled;
mod former_subjects;
mod gallery_change;
mod merge;
mod models;
mod postgres_search;
mod read;
mod reembedding;
mod removals;
mod subject_limit;
mod subject_records;
mod subjects;
mod switch;
mod twins;
mod uploads;
mod vectors;

pub use delete::{DeletedSubject, ErasedFaces};
pub use enrolled::EnrolledRecord;
pub use former_subjects::FormerSubject;
pub use merge::MergeOutcome;
pub use models::FaceModels;
pub use postgres_search::FaceSearch;
pub use reembedding::{Coverage, FaceCounts, FaceToEmbed, Gap, SourcedVector, SubjectWithout};
pub use removals::REMOVALS_KEPT;
pub use subject_records::{
    MAX_EXTERNAL_ID_BYTES, MAX_METADATA_BYTES, MAX_SUBJECT_NAME_BYTES, MAX_SUBJECTS_PAGE, Metadata, NewSubject,
    SubjectChange, SubjectRecord, SubjectWriteOutcome,
};
pub use switch::SwitchOutcome;
pub use uploads::{DecidedUpload, NewUpload, PhotoStatus, UploadDecision, UploadPlace, UploadedFace};
pub use vectors::{MAX_VECTORS_AT_ONCE, MAX_VECTORS_OF_SUBJECT, VectorWriteOutcome};
