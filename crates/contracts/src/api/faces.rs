//! Bodies of the routes under `/v1/faces`.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Problem;
use crate::detection::BoundingBox;
use crate::ids::{SubjectId, TenantId, VectorId, WatchlistName};

/// The consent of a person to the use of the face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// When it was given. Not in the future.
    #[schema(value_type = String, format = DateTime)]
    pub given_at: Timestamp,
    /// When it ends. In the future; without it, it holds until it is withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
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

/// The outcome of rejecting the subject of a detection, or of taking that back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// Id of the detection: `<frame id>-<detector>-<n>`.
    pub detection: String,
    /// The subject that it was taken for.
    pub subject: SubjectId,
    /// Id of the negative: with it, the face is not this subject from now on. `null` without one; after taking back, the id of the
    /// negative that was removed.
    pub negative: Option<VectorId>,
    /// Why there is no negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NoNegative>,
}

/// Why a rejected face has no negative, so that it may be taken for the subject again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoNegative {
    /// The image of the frame was not kept, or was deleted.
    ImageNotKept,
    /// No face is found at the place of the detection.
    FaceNotFound,
    /// The face has no embedding.
    FaceNotComparable,
    /// The server has no model that compares faces.
    NoFaceModel,
    /// The subject was deleted.
    SubjectDeleted,
    /// The subject has no valid consent.
    ConsentMissing,
    /// The subject has the most negatives that it can have.
    TooManyNegatives,
}

/// A face that is enrolled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnrolledFace {
    /// Id of the enrolled face. The same image of the same subject has the same id.
    pub id: VectorId,
    /// The model that made the embedding.
    pub model: String,
    /// The face in the upright image, in pixels.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<BoundingBox>,
    /// The detector's confidence, 0 to 1.
    pub confidence: f64,
    /// The figures by which the face was accepted.
    pub quality: FaceQuality,
}

/// The response to an enrolment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Enrolment {
    /// To an image.
    Face(EnrolledFace),
    /// To a form with images.
    Images(EnrolledImages),
}

/// The verdicts on the images of a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnrolledImages {
    /// A verdict on each image, in the order of the form.
    pub images: Vec<ImageVerdict>,
}

/// Whether the face of an image is enrolled. It has either `face` or `problem`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImageVerdict {
    /// The status that the image would get in a request of its own: 201, 200 if it was enrolled before, or that of `problem`.
    pub status: u16,
    /// The enrolled face.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face: Option<EnrolledFace>,
    /// Why the image is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// The quality of a face. docs/FACES.md has the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FaceQuality {
    /// Shorter side of the box, in pixels.
    pub size: f32,
    /// Root mean square of the Laplacian divided by that of the gradient.
    pub sharpness: f32,
    /// Degrees by which the face is turned to the right edge of the image.
    pub yaw: f32,
    /// Degrees by which the face is turned upwards.
    pub pitch: f32,
    /// Degrees by which the face is inclined, clockwise.
    pub roll: f32,
    /// Mean luma, 0 to 1.
    pub brightness: f32,
    /// Standard deviation of the luma, 0 to 0.5.
    pub contrast: f32,
}

/// A change of the model that compares faces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FaceModelChange {
    /// Name of the model, as `models.yaml` has it. That which compares already ends a change that was begun.
    pub model: String,
    /// Whether the model is changed although subjects have no face for the new one.
    #[serde(default)]
    pub without_missing: bool,
}

/// The model that compares faces, and how far its change is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaceModelStatus {
    /// Name of the model that compares, for all users; `null` if the server has none.
    pub active: Option<String>,
    /// Name of the model to which it is being changed; `null` if it is not.
    pub target: Option<String>,
    /// Whether it is changed although subjects have no face for the new one.
    pub without_missing: bool,
    /// Enrolled faces. Without a change, all are `embedded`.
    pub faces: EmbeddedFaces,
    /// Faces that were rejected as a subject. Those that are missing do not hold up the change.
    pub negatives: EmbeddedFaces,
    /// Subjects that would have no face for the new model. The model is not changed while there are some, unless `without_missing` is set.
    pub subjects_without: u64,
    /// The first 100 of them.
    pub without: Vec<SubjectWithoutFace>,
}

/// How many faces the new model has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EmbeddedFaces {
    /// Faces of the model that compares.
    pub total: u64,
    /// Those that the new model has too.
    pub embedded: u64,
    /// Those that it cannot have.
    pub missing: u64,
}

/// A subject that would have no face for the new model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectWithoutFace {
    /// Whose subject it is: the id of the user, or another tenant.
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// Id of the subject.
    pub subject: SubjectId,
    /// Its enrolled faces.
    pub faces: u64,
    /// Why the new model cannot have one of them.
    pub reason: MissingFace,
}

/// Why a model cannot have a face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingFace {
    /// The image with which it was enrolled was not kept.
    ImageNotKept,
    /// The image does not have exactly one face for the new model.
    FaceNotFound,
    /// The face has no embedding of the new model.
    FaceNotComparable,
    /// The subject has the most faces that it can have.
    TooManyFaces,
}

/// Whether a face is that of a subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Whether it is the same person, at this rate of false matches.
    pub same: bool,
    /// Why it is not. Missing if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NotSame>,
    /// Cosine to the nearest enrolled face, -1 to 1; missing with the reasons `no_faces` and `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
    /// The similarity that is needed.
    pub threshold: f32,
    /// The share of comparisons in which strangers are taken for the same person.
    pub false_match_rate: f64,
    /// The model that compares.
    pub model: String,
}

/// Why a face is not that of a subject, or of another image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotSame {
    /// The subject has no enrolled face of the model that compares.
    NoFaces,
    /// It resembles a face that was rejected as this subject more than the subject's own faces.
    Rejected,
    /// The similarity is below the threshold.
    BelowThreshold,
}

/// The subjects that a face may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FaceSearch {
    /// Subjects with a similarity of at least `threshold`, the most similar first.
    pub matches: Vec<FaceMatch>,
    /// The similarity that is needed.
    pub threshold: f32,
    /// The share of comparisons in which strangers are taken for the same person.
    pub false_match_rate: f64,
    /// Upper bound of the matches that the face of a stranger has on average: the rate times the faces that were compared.
    pub expected_false_matches: f64,
    /// Subjects that were compared.
    pub subjects: u64,
    /// The model that compares.
    pub model: String,
}

/// A subject that a face may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FaceMatch {
    /// Id of the subject.
    pub subject: SubjectId,
    /// Its external id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Cosine to its nearest enrolled face, -1 to 1.
    pub similarity: f32,
}

/// The members of a watchlist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWatchlist {
    /// Ids of the subjects, in any order. A repeated id counts once.
    #[schema(max_items = 1000)]
    pub subjects: Vec<SubjectId>,
}

/// A watchlist: subjects that rules look for by the name of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchlistView {
    /// Its name.
    pub name: WatchlistName,
    /// Ids of its subjects, in order.
    pub subjects: Vec<SubjectId>,
}

/// A watchlist in the list of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchlistSummary {
    /// Its name.
    pub name: WatchlistName,
    /// Number of its subjects.
    pub count: u64,
}

/// A photograph that will be verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhotoAccepted {
    /// Its path in the folder of uploads, which the event with the outcome has too.
    pub path: String,
}
