//! Bodies of the routes of subjects: what is stored of a person, and what is left after its deletion.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::optional_timestamp;
use super::streams::timestamp;
use crate::ids::{SubjectId, VectorId};

/// The consent of a person to the use of the face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// When it was given. Not in the future.
    #[serde(deserialize_with = "timestamp")]
    #[schema(value_type = String, format = DateTime)]
    pub given_at: Timestamp,
    /// When it ends. In the future; without it, it holds until it is withdrawn.
    #[serde(default, deserialize_with = "optional_timestamp", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// What names it in your own system. At most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl Consent {
    /// Whether it has not ended.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A subject to create. All fields are optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSubject {
    /// The id that your own system has for the person, of no other subject. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The name. At most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Further data: a JSON object of at most 4 KiB.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Map<String, Value>,
    /// The consent to the use of the face.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

/// A change of a subject. A missing field stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectChange {
    /// The new external id; `null` removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub external_id: Option<Option<String>>,
    /// The new name; `null` removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub name: Option<Option<String>>,
    /// The new metadata, which replace the old; `null` removes them.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Option<Map<String, Value>>>,
    /// The new consent. `null` withdraws it: all enrolled faces of the subject are erased.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Consent>)]
    pub consent: Option<Option<Consent>>,
}

/// A field that is given, also as `null`.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// An object, which is empty if it is given as `null`.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A person whose face is enrolled or will be. For a credential without the scope `faces:read`, only `id` and the times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SubjectView {
    /// Id of the subject.
    pub id: SubjectId,
    /// The id that your own system has for the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Further data.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// The consent to the use of the face. After its end the subject has no enrolled faces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// Enrolled faces of the model that compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faces: Option<u64>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change, or when a face was last enrolled.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// An enrolled face of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectImage {
    /// Id of the enrolled face, as the response to its enrolment has it.
    pub id: VectorId,
    /// The model that made the embedding.
    pub model: String,
    /// Whether the image is kept, so that the face can be embedded with another model.
    pub image_kept: bool,
}

/// A subject whose enrolled faces move to another one. It is deleted then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectMerge {
    /// The subject that is merged and deleted.
    pub from: SubjectId,
}

/// What was deleted with a subject, and what still has its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeletedSubject {
    /// Embeddings of its enrolled faces.
    pub enrolled: u64,
    /// Embeddings of faces that were rejected as this subject.
    pub negatives: u64,
    /// The models of these embeddings.
    pub models: Vec<String>,
    /// Detections on which it was forgotten.
    #[serde(default)]
    pub detections: u64,
    /// Alerts on which it was forgotten.
    #[serde(default)]
    pub alerts: u64,
    /// Kept images that were deleted: those of frames in which it was recognised.
    #[serde(default)]
    pub images: u64,
    /// Kept images that were deleted: those with which it was enrolled.
    #[serde(default)]
    pub enrolment_images: u64,
    /// What still has the id, without a name, or images of people before the camera.
    #[serde(default)]
    pub remaining: Vec<RemainingData>,
}

/// Data that a deletion does not reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemainingData {
    /// Where it is: `topic` with its name, `images in the inbox`, `deleted subjects` of the accounts' database, or `backups`.
    pub place: String,
    /// What is there.
    pub holds: HeldData,
    /// End of its retention. Topics delete whole segments, some time after it. Missing for backups, which the operator keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// A kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeldData {
    /// The id of the subject, without a name.
    SubjectId,
    /// Images of people before the camera, without the id.
    Images,
    /// All data, as it was before the deletion.
    Everything,
}
