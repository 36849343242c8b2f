//! Bodies of the route of the model that compares faces.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{SubjectId, TenantId};

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
