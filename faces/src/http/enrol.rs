//! Enrolment: the face of an image, or of each image of a form, becomes a vector of a subject.

use api_kit::auth::Authorized;
use api_kit::error::{ApiError, ServiceError};
use api_kit::extract::{NoQuery, PathId};
use api_kit::routes;
use api_kit::scope::FacesWrite;
use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use contracts::SubjectId;
use contracts::api::{self, EnrolledFace, EnrolledImages, Enrolment, ImageVerdict, Problem};
use gallery::{GalleryKey, StoredVector, VectorKind};
use http::StatusCode;
use jiff::Timestamp;
use store::relational::VectorWriteOutcome;
use vision::face_quality::FaceQuality;

use super::error::{FaceError, gallery_failure};
use super::image_body::{EnrolmentBody, EnrolmentImages, as_image};
use super::image_places::Place;
use super::{App, Routes, vector_ids};

/// The routes of this file.
pub fn routes() -> Routes {
    routes![enrol]
}

/// Enrols the face of an image. The body is a JPEG, PNG or WebP image with exactly one face; the image is not kept. The same image
/// is enrolled once: a repeat gets 200 with the same id. Or the body is a form with up to ten images in fields with the name `image`. The
/// response is 200 then, with a verdict on each; those that are refused do not hinder the others. After an error for the whole form, send it
/// again.
#[utoipa::path(
    post, path = "/v1/faces/subjects/{id}/images", operation_id = "enrol_face", tag = "faces",
    params(("id" = SubjectId, Path, description = "The subject's id")),
    request_body(content(("image/jpeg"), ("image/png"), ("image/webp"), ("multipart/form-data"))),
    responses(
        (status = 200, body = Enrolment, description = "This image of the subject was enrolled before; or the verdicts on the images of a form"),
        (status = 201, body = EnrolledFace, description = "The face is enrolled: every search that begins from now on compares it"),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`forbidden`: the credential does not allow it; `consent_missing`: the subject has no valid consent"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no subject has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: the subject has too many faces"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "`no_face`, `several_faces`: not exactly one face; `face_too_small`, `face_blurred`, `face_turned`, `face_not_upright`, `face_too_dark`, \
                           `face_too_bright`, `face_unmeasurable`, `face_not_comparable`: a face that cannot be compared well; `invalid_image`, `image_too_large`: no image that can be decoded; `invalid`: a value is out of its range"),
    )
)]
pub async fn enrol(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(subject): PathId<SubjectId>,
    _: NoQuery,
    body: EnrolmentBody,
) -> Result<(StatusCode, Json<Enrolment>), ApiError> {
    // Before the models run: a subject of another tenant takes as long as none.
    app.check_comparable(&caller.tenant, subject).await?;
    let model = app.encoder.model().await?;
    let key = App::key(&caller.tenant, &model);
    // One for all images of a form, so that none of them is refused for want of a place.
    let place = app.place(&caller.tenant)?;
    let target = Target { app: &app, key: &key, subject, place: &place };
    match body.images {
        EnrolmentImages::One(encoded) => {
            let (status, face) = target.enrol(encoded).await?;
            Ok((status, Json(Enrolment::Face(face))))
        }
        EnrolmentImages::Several(files) => {
            let mut images = Vec::with_capacity(files.len());
            for file in files {
                images.push(target.verdict(file).await?);
            }
            Ok((StatusCode::OK, Json(Enrolment::Images(EnrolledImages { images }))))
        }
    }
}

/// Where the faces of a request are enrolled.
struct Target<'a> {
    app: &'a App,
    key: &'a GalleryKey,
    subject: SubjectId,
    place: &'a Place,
}

impl Target<'_> {
    /// The verdict on one image of a form.
    ///
    /// # Errors
    /// Those that are not the image's: the subject is gone, or the service has failed.
    async fn verdict(&self, file: Bytes) -> Result<ImageVerdict, ApiError> {
        let outcome = match as_image("each field image", file) {
            Ok(encoded) => self.enrol(encoded).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok((status, face)) => Ok(ImageVerdict { status: status.as_u16(), face: Some(face), problem: None }),
            Err(error) if error.status().is_server_error() || error.status() == StatusCode::NOT_FOUND => Err(error),
            Err(error) => {
                let problem = error.into_problem();
                Ok(ImageVerdict { status: problem.status, face: None, problem: Some(problem) })
            }
        }
    }

    /// Enrols the one face of an image. 201, or 200 if it was enrolled before.
    async fn enrol(&self, encoded: Bytes) -> Result<(StatusCode, EnrolledFace), ApiError> {
        let Self { app, key, subject, place } = *self;
        let id = vector_ids::of_image(subject, &key.model, &encoded);
        let (face, embedding) = app.face_to_enrol(place, encoded).await?;
        let quality = face.quality.map_err(FaceError::Fault)?;
        let known = app.database.vectors_of_subject(key, subject).await.map_err(gallery_failure)?;
        let view = EnrolledFace {
            id,
            model: key.model.clone(),
            bounds: face.detection.bounds,
            confidence: face.detection.confidence,
            quality: figures(&quality),
        };
        if known.iter().any(|vector| vector.id == id) {
            return Ok((StatusCode::OK, view));
        }
        let vector = StoredVector { id, subject, kind: VectorKind::Enrolled, embedding };
        match app.database.put_vectors(key, &[vector], Timestamp::now()).await? {
            VectorWriteOutcome::Stored => Ok((StatusCode::CREATED, view)),
            VectorWriteOutcome::UnknownSubject(subject) => Err(FaceError::NoSubject(subject).into()),
            VectorWriteOutcome::NoConsent(subject) => Err(FaceError::ConsentMissing(subject).into()),
            VectorWriteOutcome::TooMany(_) => Err(FaceError::TooManyFaces.into()),
            outcome @ (VectorWriteOutcome::TooManyAtOnce | VectorWriteOutcome::WrongLength(_)) => {
                Err(ServiceError::Internal(anyhow::anyhow!("{}: a face was not enrolled: {outcome:?}", key.model))
                    .into())
            }
        }
    }
}

fn figures(quality: &FaceQuality) -> api::FaceQuality {
    let FaceQuality { size, sharpness, yaw, pitch, roll, brightness, contrast } = *quality;
    api::FaceQuality { size, sharpness, yaw, pitch, roll, brightness, contrast }
}
