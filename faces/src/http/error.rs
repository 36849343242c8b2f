//! Why a request about faces is refused: status, code and text of each refusal.

use api_kit::error::{ApiError, HttpError, RequestError, ServiceError};
use contracts::{DetectionId, SubjectId, VectorId, WatchlistName};
use gallery::{CalibrationError, GalleryError};
use http::StatusCode;
use store::relational::MAX_VECTORS_OF_SUBJECT;
use vision::pipeline::Failure;
use vision::registry::{ModelError, OpenError};

use super::watchlists::{MAX_WATCHLIST_SUBJECTS, MAX_WATCHLISTS};
use crate::checks::ImageRefusal;
use crate::encoder::EncodeError;
use crate::uploads::MOST_OF_USER;

/// Why a request about faces is refused.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// No subject of the caller has the id.
    #[error("there is no subject {0}")]
    NoSubject(SubjectId),
    /// The subject has no such enrolled face.
    #[error(
        "there is no enrolled face {1} of a subject {0}; GET /v1/faces/subjects/{0}/images lists those that there are"
    )]
    NoFace(SubjectId, VectorId),
    /// The subject has no consent, or it ended.
    #[error("the subject {0} has no valid consent; record it: PATCH /v1/faces/subjects/{0} with consent")]
    ConsentMissing(SubjectId),
    /// The consent of a subject that is merged is not covered by that of the one that stays.
    #[error(
        "the consent of {from} is recorded, and that of {into} is not, or ends later; record one on {into} that ends no later, or, if the \
         person has agreed to it, a longer one on {from}: PATCH /v1/faces/subjects/ID with consent"
    )]
    ConsentDiffers {
        /// The subject that is merged.
        from: SubjectId,
        /// The one that stays.
        into: SubjectId,
    },
    /// No detection of the caller has the id.
    #[error("there is no detection {0}")]
    NoDetection(DetectionId),
    /// The detection has no subject.
    #[error("the detection {0} has no subject that could be rejected")]
    NotRecognised(DetectionId),
    /// The detection is not rejected.
    #[error("the detection {0} is not rejected, or its subject was deleted")]
    NotRejected(DetectionId),
    /// Another subject has the external id.
    #[error("another subject has this external_id; choose another one, or change that subject")]
    ExternalIdTaken,
    /// A subject cannot be merged with itself.
    #[error("from: a subject cannot be merged with itself")]
    MergedWithItself,
    /// The subject would have too many faces.
    #[error("a subject has at most {MAX_VECTORS_OF_SUBJECT} enrolled faces; delete some, or enrol fewer images")]
    TooManyFaces,
    /// The caller has no watchlist with the name.
    #[error("there is no watchlist {0}; create it: PUT /v1/faces/watchlists/{0}")]
    NoWatchlist(WatchlistName),
    /// The subject is not on the watchlist.
    #[error("the subject {1} is not on the watchlist {0}")]
    NotOnWatchlist(WatchlistName, SubjectId),
    /// The tenant has as many watchlists as it may have.
    #[error("there are already {MAX_WATCHLISTS} watchlists; delete one first")]
    TooManyWatchlists,
    /// The watchlist would have too many subjects.
    #[error("a watchlist has at most {MAX_WATCHLIST_SUBJECTS} subjects; use several")]
    WatchlistFull,
    /// There are no bytes.
    #[error("{0} is empty; send the bytes of an image")]
    EmptyBody(&'static str),
    /// The face of an image cannot be compared or enrolled.
    #[error(transparent)]
    Image(#[from] ImageRefusal),
    /// Faces are only verified.
    #[error("on this server faces are only verified, not searched; name the person: POST /v1/faces/verify?subject=ID")]
    SearchOff,
    /// There is no model for embeddings.
    #[error(
        "this server has no model that compares faces; the operator can fetch one: sightline models pull mobilefacenet_128d"
    )]
    NoModel,
    /// The file of a model is not the right one.
    #[error(
        "the file of a model that compares faces is damaged on this server, or another one; the operator can fetch it again: sightline \
         models list names it, then sightline models pull NAME"
    )]
    DamagedModel,
    /// A model cannot be opened.
    #[error("the models that compare faces cannot be opened on this server; the operator finds the cause in its log")]
    UnusableModel,
    /// The tenant has as many subjects as it may.
    #[error(
        "there are {0} subjects, the most that a user may have; delete or merge some, or ask the operator to raise \
         SIGHTLINE_FACES_SUBJECTS"
    )]
    TooManySubjects(u64),
    /// The tenant has its share of the images that are compared at the same time.
    #[error("requests with images in progress: at most {0} for one user; send the next one after a response")]
    ShareInUse(usize),
    /// The named model cannot compare faces.
    #[error(
        "model: this server cannot compare faces with {0}; it must be one of the embedding_models of the detector face, with its file in \
         the models folder: sightline models list"
    )]
    NotAFaceModel(String),
    /// The model is changed again and again.
    #[error("the model that compares faces was changed meanwhile; try again")]
    ModelChanged,
    /// There is no folder of uploads.
    #[error("this server verifies nobody by a photograph; the operator can set SIGHTLINE_FACES_UPLOADS_DIR")]
    UploadsOff,
    /// The credential is the operator's own, which belongs to no user.
    #[error("this credential belongs to no user; sign in as the one on the photograph")]
    NoUser,
    /// Too many photographs of the user wait.
    #[error("{MOST_OF_USER} photographs of yours wait for their verification; try again after one of them is verified")]
    TooManyPhotos,
    /// Too many images at the same time.
    #[error("too many images are compared at the same time; try again soon")]
    Busy,
    /// The models have no result now.
    #[error("the models returned no result; try again soon")]
    NoResult,
}

impl HttpError for FaceError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoSubject(_)
            | Self::NoFace(..)
            | Self::NoDetection(_)
            | Self::NotRejected(_)
            | Self::NoWatchlist(_)
            | Self::NotOnWatchlist(..) => (StatusCode::NOT_FOUND, "not_found"),
            Self::NotRecognised(_) => (StatusCode::CONFLICT, "not_recognised"),
            Self::ExternalIdTaken => (StatusCode::CONFLICT, "external_id_taken"),
            Self::MergedWithItself | Self::NotAFaceModel(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::ModelChanged => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::TooManyFaces | Self::TooManyWatchlists | Self::WatchlistFull => (StatusCode::CONFLICT, "conflict"),
            Self::EmptyBody(_) => (StatusCode::UNPROCESSABLE_ENTITY, "empty_body"),
            Self::Image(refusal) => (StatusCode::UNPROCESSABLE_ENTITY, refusal.code()),
            Self::ConsentMissing(_) => (StatusCode::FORBIDDEN, "consent_missing"),
            Self::ConsentDiffers { .. } => (StatusCode::CONFLICT, "consent_differs"),
            Self::SearchOff => (StatusCode::FORBIDDEN, "search_off"),
            Self::UploadsOff => (StatusCode::FORBIDDEN, "uploads_off"),
            Self::NoUser => (StatusCode::FORBIDDEN, "no_user"),
            Self::TooManyPhotos => (StatusCode::CONFLICT, "conflict"),
            Self::NoModel => (StatusCode::SERVICE_UNAVAILABLE, "no_face_model"),
            Self::DamagedModel | Self::UnusableModel => (StatusCode::SERVICE_UNAVAILABLE, "face_model_unusable"),
            Self::TooManySubjects(_) => (StatusCode::CONFLICT, "too_many_subjects"),
            Self::ShareInUse(_) => (StatusCode::TOO_MANY_REQUESTS, "share_in_use"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::NoResult => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::ShareInUse(_) | Self::Busy | Self::NoResult | Self::ModelChanged).then_some(1)
    }
}

impl From<ImageRefusal> for ApiError {
    fn from(refusal: ImageRefusal) -> Self {
        FaceError::from(refusal).into()
    }
}

impl From<EncodeError> for ApiError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::NoModel(cause) => {
                // The text names folders of the server, so the client does not get it.
                tracing::warn!(error = cause.to_string(), "faces cannot be compared");
                FaceError::NoModel.into()
            }
            // Logged where it was opened.
            EncodeError::Unusable(OpenError::Model(ModelError::WrongModel { .. } | ModelError::Unreadable { .. })) => {
                FaceError::DamagedModel.into()
            }
            EncodeError::Unusable(_) => FaceError::UnusableModel.into(),
            EncodeError::Image(Failure { code, message }) => ImageRefusal::Image { code, message }.into(),
            EncodeError::NoResult(cause) => {
                tracing::warn!(error = cause, "faces cannot be compared");
                FaceError::NoResult.into()
            }
            error @ EncodeError::NotMeasured(_) => ServiceError::Internal(error.into()).into(),
            EncodeError::Internal(cause) => ServiceError::Internal(cause).into(),
        }
    }
}

/// The error of a search or a comparison.
pub fn gallery_failure(error: GalleryError) -> ApiError {
    match error {
        GalleryError::Unavailable(cause) => ServiceError::Unavailable(cause).into(),
        GalleryError::Busy => FaceError::Busy.into(),
        GalleryError::Damaged(_) | GalleryError::WrongQuery(_) => ServiceError::Internal(error.into()).into(),
    }
}

/// The error of a rate that a model cannot promise.
pub fn rate_failure(error: &CalibrationError) -> ApiError {
    RequestError::Invalid(format!("false_match_rate: {error}")).into()
}
