//! Enrolment: the face of an image, or of each image of a form, becomes a vector of a subject, and the image is kept if the settings say so.
//!
//! While the model is being changed, the vector of the new model is stored first: the new one has each face that the active one has.

use api_kit::auth::Authorized;
use api_kit::error::{ApiError, ServiceError};
use api_kit::extract::{NoQuery, PathId};
use api_kit::routes;
use api_kit::scope::FacesWrite;
use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use contracts::api::{self, EnrolledFace, EnrolledImages, Enrolment, ImageVerdict, Problem};
use contracts::{BlobKey, SubjectId, TenantId, VectorId};
use gallery::{Embedding, GalleryKey, StoredVector, VectorKind};
use http::StatusCode;
use jiff::Timestamp;
use store::relational::VectorWriteOutcome;
use vision::face_quality::FaceQuality;

use super::error::{FaceError, gallery_failure};
use super::image_body::{EnrolmentBody, EnrolmentImages, as_image};
use super::image_places::Place;
use super::{App, Routes};
use crate::current_model::CurrentModel;
use crate::{checks, vector_ids};

/// How often a face is embedded again because the model was changed meanwhile.
const MAX_TRIES: u32 = 3;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![enrol]
}

/// Enrols the face of an image. The body is a JPEG, PNG or WebP image with exactly one face. The image is not kept, unless the operator
/// has set so. The same image is enrolled once: a repeat gets 200 with the same id. Or the body is a form with up to ten images in fields with
/// the name `image`. The response is 200 then, with a verdict on each; the others are enrolled where one is refused. After an error for the
/// whole form, send it again.
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
                           `face_too_bright`, `face_unmeasurable`, `face_not_comparable`: a face that cannot be compared well; `invalid_image`, `image_too_large`, `empty_body`: no image that can be decoded; `invalid`: a value is out of its range"),
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
    // One for all images of a form, so that none of them is refused because no place is free.
    let place = app.place(&caller.tenant)?;
    // It ends also if the client goes away or the time is over: what is stored of a face that is then refused must be deleted.
    let enrolling = tokio::spawn(enrol_all(app, caller.tenant, subject, body, place));
    enrolling.await.map_err(|error| ServiceError::Internal(error.into()))?
}

/// Enrols the images of a request.
async fn enrol_all(
    app: App,
    tenant: TenantId,
    subject: SubjectId,
    body: EnrolmentBody,
    place: Place,
) -> Result<(StatusCode, Json<Enrolment>), ApiError> {
    let target = Target { app: &app, tenant: &tenant, subject, place: &place };
    match body.images {
        EnrolmentImages::One(encoded) => {
            let (status, face) = target.enrol(&encoded).await?;
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
    tenant: &'a TenantId,
    subject: SubjectId,
    place: &'a Place,
}

impl Target<'_> {
    /// The verdict on one image of a form.
    ///
    /// # Errors
    /// Those that are not the image's: the subject is gone, or the service has failed.
    async fn verdict(&self, file: Bytes) -> Result<ImageVerdict, ApiError> {
        let outcome = match as_image("the field image", file) {
            Ok(encoded) => self.enrol(&encoded).await,
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
    async fn enrol(&self, encoded: &Bytes) -> Result<(StatusCode, EnrolledFace), ApiError> {
        let Self { app, tenant, subject, place } = *self;
        let image = EnrolledImage { tenant, subject, encoded, place };
        for _ in 0..MAX_TRIES {
            if let Some(enrolled) = image.enrol(app).await? {
                return Ok(enrolled);
            }
        }
        Err(FaceError::ModelChanged.into())
    }
}

/// An image that is enrolled.
struct EnrolledImage<'a> {
    tenant: &'a TenantId,
    subject: SubjectId,
    encoded: &'a Bytes,
    place: &'a Place,
}

impl EnrolledImage<'_> {
    /// Enrols it for the model that compares. `None` if that was changed meanwhile.
    async fn enrol(&self, app: &App) -> Result<Option<(StatusCode, EnrolledFace)>, ApiError> {
        let current = app.current_model().await?;
        let key = current.key(self.tenant);
        let (face, embedding) = current.face_to_enrol(self.place, self.encoded.clone()).await?;
        let (id, known) = self.id(app, &key, &embedding).await?;
        let quality = checks::quality(&face)?;
        let view = EnrolledFace {
            id,
            model: key.model.clone(),
            bounds: face.detection.bounds,
            confidence: face.detection.confidence,
            quality: figures(&quality),
        };
        let source = self.keep(app, id).await?;
        self.add_to_target(app, &current, id, source.as_ref()).await?;
        if known {
            return match &source {
                Some(source) => {
                    Ok(self.keep_source(app, &current, id, source).await?.then_some((StatusCode::OK, view)))
                }
                None => Ok(Some((StatusCode::OK, view))),
            };
        }
        let added = self.add(app, &current, id, embedding, source.as_ref()).await?;
        Ok(added.then_some((StatusCode::CREATED, view)))
    }

    /// The id of its face, and whether it is enrolled already: by its bytes, or, after a merge, by its embedding under the id that it got as a
    /// face of the other subject.
    async fn id(&self, app: &App, key: &GalleryKey, embedding: &Embedding) -> Result<(VectorId, bool), ApiError> {
        let galleries = app.database.galleries_of_tenant(self.tenant).await?;
        let of_model = |model: &str| vector_ids::of_image(self.subject, model, self.encoded);
        let ids = vector_ids::of_any_model(&key.model, &galleries, of_model);
        let vectors = app.database.vectors_of_subject(key, self.subject).await.map_err(gallery_failure)?;
        let is_twin = |vector: &&StoredVector| vector.kind == VectorKind::Enrolled && vector.embedding == *embedding;
        let same = vectors.iter().find(|vector| ids.contains(&vector.id)).or_else(|| vectors.iter().find(is_twin));
        Ok(same.map_or_else(|| (of_model(&key.model), false), |vector| (vector.id, true)))
    }

    /// Keeps the image, if the settings say so. First of all: a vector must not name an image that is not there.
    async fn keep(&self, app: &App, id: VectorId) -> Result<Option<BlobKey>, ApiError> {
        if !app.keep_images {
            return Ok(None);
        }
        let key = BlobKey::of_enrolled(self.tenant, self.subject, id);
        if let Err(error) = app.blobs.put(&key, self.encoded.clone()).await {
            // A deletion, or the end of the consent, deletes the folder of the images meanwhile.
            app.check_comparable(self.tenant, self.subject).await?;
            return Err(error.into());
        }
        Ok(Some(key))
    }

    /// Stores the vector of the model to which it is being changed. Without one, the face is enrolled all the same, and the change says what
    /// it misses.
    async fn add_to_target(
        &self,
        app: &App,
        current: &CurrentModel,
        id: VectorId,
        source: Option<&BlobKey>,
    ) -> Result<(), ApiError> {
        let Some(target) = &current.target else { return Ok(()) };
        let embedding = match app.encoders.of(target).faces(self.encoded.clone()).await {
            Ok(mut faces) if faces.len() == 1 => faces.pop().and_then(|face| face.embedding),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(error = error.to_string(), model = %target, "a face has no vector of the new model yet");
                None
            }
        };
        let Some(embedding) = embedding else { return Ok(()) };
        let key = GalleryKey { tenant: self.tenant.clone(), model: target.clone() };
        let vector = self.vector(id, embedding);
        let outcome = app.database.put_vectors(&key, &[vector], Timestamp::now()).await?;
        if let (VectorWriteOutcome::Stored, Some(source)) = (outcome, source) {
            app.database.set_source(&key, id, &source.to_string(), Timestamp::now()).await?;
        }
        Ok(())
    }

    /// Says that the image of an enrolled face is kept. `false` if the face was removed meanwhile.
    async fn keep_source(
        &self,
        app: &App,
        current: &CurrentModel,
        id: VectorId,
        source: &BlobKey,
    ) -> Result<bool, ApiError> {
        let key = current.key(self.tenant);
        if app.database.set_source(&key, id, &source.to_string(), Timestamp::now()).await? {
            return Ok(true);
        }
        self.undo(app, current, id).await?;
        app.check_comparable(self.tenant, self.subject).await?;
        Ok(false)
    }

    /// Stores the vector of the model that compares. `false` if that was changed meanwhile.
    async fn add(
        &self,
        app: &App,
        current: &CurrentModel,
        id: VectorId,
        embedding: Embedding,
        source: Option<&BlobKey>,
    ) -> Result<bool, ApiError> {
        let (key, vector, source) =
            (current.key(self.tenant), self.vector(id, embedding), source.map(ToString::to_string));
        let now = Timestamp::now();
        let put = app.database.put_face(&key, &vector, source.as_deref(), current.target.as_deref(), now);
        // After an error it may be stored or not, and a repeat completes it.
        let refusal = match put.await? {
            VectorWriteOutcome::Stored => return Ok(true),
            // What was stored for the new model may be that of another request with the same image, so it stays.
            VectorWriteOutcome::ModelChanged => return Ok(false),
            VectorWriteOutcome::UnknownSubject(subject) => FaceError::NoSubject(subject).into(),
            VectorWriteOutcome::NoConsent(subject) => FaceError::ConsentMissing(subject).into(),
            VectorWriteOutcome::TooMany(_) => FaceError::TooManyFaces.into(),
            outcome @ (VectorWriteOutcome::TooManyAtOnce | VectorWriteOutcome::WrongLength(_)) => {
                ServiceError::Internal(anyhow::anyhow!("{}: a face was not enrolled: {outcome:?}", key.model)).into()
            }
        };
        self.undo(app, current, id).await?;
        Err(refusal)
    }

    /// Deletes what was stored of a face that is refused. What a crash leaves here is deleted with the subject.
    async fn undo(&self, app: &App, current: &CurrentModel, id: VectorId) -> Result<(), ApiError> {
        if let Some(target) = &current.target {
            let key = GalleryKey { tenant: self.tenant.clone(), model: target.clone() };
            app.database.remove_vectors(&key, &[id], Timestamp::now()).await?;
        }
        if app.keep_images {
            app.blobs.delete(&BlobKey::of_enrolled(self.tenant, self.subject, id)).await?;
        }
        Ok(())
    }

    fn vector(&self, id: VectorId, embedding: Embedding) -> StoredVector {
        StoredVector { id, subject: self.subject, kind: VectorKind::Enrolled, embedding }
    }
}

fn figures(quality: &FaceQuality) -> api::FaceQuality {
    let FaceQuality { size, sharpness, yaw, pitch, roll, brightness, contrast } = *quality;
    api::FaceQuality { size, sharpness, yaw, pitch, roll, brightness, contrast }
}
