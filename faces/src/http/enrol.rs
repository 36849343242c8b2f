//! Enrolment: the face of an image becomes a vector of a subject.

use api_kit::auth::Authorized;
use api_kit::error::{ApiError, ServiceError};
use api_kit::extract::{NoQuery, PathId};
use api_kit::routes;
use api_kit::scope::FacesWrite;
use axum::Json;
use axum::extract::State;
use contracts::SubjectId;
use contracts::api::{self, EnrolledFace, Problem};
use gallery::{StoredVector, VectorKind};
use http::StatusCode;
use jiff::Timestamp;
use store::relational::VectorWriteOutcome;
use vision::face_quality::FaceQuality;

use super::error::{FaceError, gallery_failure};
use super::image_body::ImageBody;
use super::{App, Routes};
use crate::{checks, vector_ids};

/// The routes of this file.
pub fn routes() -> Routes {
    routes![enrol]
}

/// Enrols the face of an image. The body is a JPEG, PNG or WebP image with exactly one face; the image is not kept. The same image
/// is enrolled once: a repeat gets 200 with the same id.
#[utoipa::path(
    post, path = "/v1/faces/subjects/{id}/images", operation_id = "enrol_face", tag = "faces",
    params(("id" = SubjectId, Path, description = "The subject's id")),
    request_body(content(("image/jpeg"), ("image/png"), ("image/webp"))),
    responses(
        (status = 200, body = EnrolledFace, description = "This image of the subject was enrolled before"),
        (status = 201, body = EnrolledFace, description = "The face is enrolled: every search that begins from now on compares it"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no subject has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: the subject has too many faces"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "`no_face`, `several_faces`: not exactly one face; `face_too_small`, `face_blurred`, `face_turned`, `face_too_dark`, \
                           `face_too_bright`, `face_unmeasurable`, `face_not_comparable`: a face that cannot be compared well; `invalid_image`, `image_too_large`: no image that can be decoded; `invalid`: a value is out of its range"),
    )
)]
pub async fn enrol(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(subject): PathId<SubjectId>,
    _: NoQuery,
    image: ImageBody,
) -> Result<(StatusCode, Json<EnrolledFace>), ApiError> {
    // Before the models run: a subject of another tenant takes as long as none.
    app.database.subject(&caller.tenant, subject).await?.ok_or(FaceError::NoSubject(subject))?;
    let model = app.encoder.model().await?;
    let id = vector_ids::of_image(subject, &model.name, &image.encoded);
    let (face, embedding) = app.face(image.encoded).await?;
    let quality = checks::quality(&face)?;
    let key = App::key(&caller.tenant, &model);
    let known = app.database.vectors_of_subject(&key, subject).await.map_err(gallery_failure)?;
    let view = EnrolledFace {
        id,
        model: model.name.clone(),
        bounds: face.detection.bounds,
        confidence: face.detection.confidence,
        quality: figures(&quality),
    };
    if known.iter().any(|vector| vector.id == id) {
        return Ok((StatusCode::OK, Json(view)));
    }
    let vector = StoredVector { id, subject, kind: VectorKind::Enrolled, embedding };
    match app.database.put_vectors(&key, &[vector], Timestamp::now()).await? {
        VectorWriteOutcome::Stored => Ok((StatusCode::CREATED, Json(view))),
        VectorWriteOutcome::UnknownSubject(subject) => Err(FaceError::NoSubject(subject).into()),
        VectorWriteOutcome::TooMany(_) => Err(FaceError::TooManyFaces.into()),
        outcome @ (VectorWriteOutcome::TooManyAtOnce | VectorWriteOutcome::WrongLength(_)) => {
            Err(ServiceError::Internal(anyhow::anyhow!("{}: a face was not enrolled: {outcome:?}", model.name)).into())
        }
    }
}

fn figures(quality: &FaceQuality) -> api::FaceQuality {
    let FaceQuality { size, sharpness, yaw, pitch, roll, brightness, contrast } = *quality;
    api::FaceQuality { size, sharpness, yaw, pitch, roll, brightness, contrast }
}
