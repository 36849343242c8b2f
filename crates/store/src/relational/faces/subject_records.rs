//! Subjects as they are stored.

use contracts::SubjectId;
use contracts::api::Consent;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::StoreError;
use crate::relational::values::{Row, unreadable};

/// Maximum length of an external id.
pub const MAX_EXTERNAL_ID_BYTES: usize = 256;
/// Maximum length of a subject's name.
pub const MAX_SUBJECT_NAME_BYTES: usize = 512;
/// Maximum length of a subject's metadata as JSON.
pub const MAX_METADATA_BYTES: usize = 4_096;
/// Maximum number of subjects that one read returns: one more than a page of a list, which says whether there is a next one.
pub const MAX_SUBJECTS_PAGE: u32 = 1_001;

/// What the owner stores with a subject: a JSON object.
pub type Metadata = Map<String, Value>;

/// A subject to add.
#[derive(Debug, Clone)]
pub struct NewSubject {
    /// The id.
    pub id: SubjectId,
    /// The id that the owner's own system has for the person.
    pub external_id: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// Further data of the owner.
    pub metadata: Metadata,
    /// The consent to the use of its face.
    pub consent: Option<Consent>,
}

/// A change of a subject. `None` leaves a field as it is; an inner `None` removes it.
#[derive(Debug, Clone, Default)]
pub struct SubjectChange {
    /// The new external id.
    pub external_id: Option<Option<String>>,
    /// The new name.
    pub name: Option<Option<String>>,
    /// The new metadata, which replaces all of the old.
    pub metadata: Option<Metadata>,
    /// The new consent. Without one, all vectors of the subject are erased.
    pub consent: Option<Option<Consent>>,
}

/// A stored subject.
#[derive(Debug, Clone, PartialEq)]
pub struct SubjectRecord {
    /// The id.
    pub id: SubjectId,
    /// The id that the owner's own system has for the person; of no other subject of the tenant.
    pub external_id: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// Further data of the owner.
    pub metadata: Metadata,
    /// The consent to the use of its face; it may have ended.
    pub consent: Option<Consent>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of its last change, or when vectors were last added to it.
    pub updated_at: Timestamp,
}

/// The outcome of writing a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectWriteOutcome {
    /// Stored.
    Stored,
    /// Another subject of the tenant has the external id.
    ExternalIdTaken,
    /// The field is longer than the maximum, in bytes.
    TooLong(&'static str, usize),
    /// The tenant has a subject with the id of the new one.
    IdTaken,
    /// The tenant has no subject with the id.
    Unknown,
    /// The user is disabled or deleted.
    NoUser,
    /// The tenant has this many subjects, the most that it may have.
    TooManySubjects(u64),
}

/// The columns of a subject in every statement that reads one.
macro_rules! subject_columns {
    () => {
        "id, external_id, name, metadata, consent_given_at, consent_until, consent_reference, created_at, updated_at"
    };
}
pub(super) use subject_columns;

impl SubjectRecord {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let metadata: String = row.get("metadata")?;
        Ok(Self {
            id: SubjectId::from_uuid(row.get("id")?),
            external_id: row.get("external_id")?,
            name: row.get("name")?,
            metadata: serde_json::from_str(&metadata).map_err(|error| unreadable("metadata of a subject", &error))?,
            consent: super::consent::consent(row)?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

/// The metadata as they are stored.
pub(super) fn metadata_text(metadata: &Metadata) -> String {
    // Writing a map with text keys to a text does not fail.
    serde_json::to_string(metadata).unwrap_or_default()
}

/// The first field that is too long.
pub(super) fn too_long(
    external_id: Option<&str>,
    name: Option<&str>,
    metadata: Option<&str>,
) -> Option<SubjectWriteOutcome> {
    let fields = [
        ("external_id", external_id, MAX_EXTERNAL_ID_BYTES),
        ("name", name, MAX_SUBJECT_NAME_BYTES),
        ("metadata", metadata, MAX_METADATA_BYTES),
    ];
    let long = fields.into_iter().find(|(_, text, most)| text.is_some_and(|text| text.len() > *most));
    long.map(|(field, _, most)| SubjectWriteOutcome::TooLong(field, most))
}
