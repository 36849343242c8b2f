//! Bodies of the routes that take or name a face: enrolment, comparison, rejection.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Problem;
use crate::detection::BoundingBox;
use crate::face_upload::UploadOutcome;
use crate::ids::{SubjectId, VectorId};

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

/// A photograph that will be verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhotoAccepted {
    /// Its path in the folder of uploads, which the event with the outcome has too.
    pub path: String,
    /// Its id, which its outcome has too: `photo.id` of `GET /v1/users/me`, and `ce_id` of the event.
    pub id: Uuid,
}

/// The outcome of a user's photographs that was decided last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LatestPhoto {
    /// Id of the photograph, from the response to `POST /v1/users/me/photo`; `ce_id` of the event.
    pub id: Uuid,
    /// The outcome.
    pub outcome: UploadOutcome,
    /// When that was decided.
    #[schema(value_type = String, format = DateTime)]
    pub decided_at: Timestamp,
}
