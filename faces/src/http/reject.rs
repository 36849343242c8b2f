//! "Not this person": rejecting the subject of a detection, and undoing that.

use accounts::Caller;
use api_kit::auth::Authorized;
use api_kit::error::{ApiError, ServiceError};
use api_kit::extract::{NoQuery, PathId};
use api_kit::routes;
use api_kit::scope::FacesWrite;
use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use contracts::api::{NoNegative, Problem, Rejection};
use contracts::{Attributes, BoundingBox, DetectionId, FrameId, Outcome, SubjectId, TenantId, VectorId};
use gallery::{Embedding, GalleryKey, StoredVector, VectorKind};
use jiff::Timestamp;
use store::relational::VectorWriteOutcome;
use store::{Blobs, Documents, StoreError, StoredDetection, TenantScope};

use super::error::{FaceError, gallery_failure};
use super::{App, Routes};
use crate::encoder::{EncodeError, Face};
use crate::vector_ids;

/// Overlap of the boxes of a face that is found again, at least. The same model finds the same box; another model one that is a
/// little larger or smaller.
const LEAST_OVERLAP: f64 = 0.5;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![reject, restore]
}

/// Rejects the subject of a detection: "not this person". The detection and its alerts have no subject from now on, and `identity` is
/// `rejected`; the alert stream sends alerts as they were raised. While the image of the frame is kept, the face also becomes a negative: it
/// is not taken for this subject any more. A repeat gets the same response; after an error it does what is missing.
#[utoipa::path(
    post, path = "/v1/detections/{id}/reject", operation_id = "reject_detection", tag = "faces",
    params(("id" = String, Path, description = "`<frame id>-<detector>-<n>`", pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[a-z0-9_]{1,32}-[0-9]{1,9}$")),
    responses(
        (status = 200, body = Rejection, description = "The subject is removed; `negative` says whether the face is remembered"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no detection has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`not_recognised`: the detection has no subject, or it was forgotten"),
    )
)]
pub async fn reject(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(id): PathId<DetectionId>,
    _: NoQuery,
) -> Result<Json<Rejection>, ApiError> {
    let detection = own_detection(&app, &caller, &id).await?;
    if !may_be_rejected(&detection.detection.attributes) {
        return Err(FaceError::NotRecognised(id).into());
    }
    let rejected = app.documents.reject(&caller.tenant, &id).await?;
    let subject = rejected.ok_or_else(|| FaceError::NotRecognised(id.clone()))?.subject;
    let (negative, reason) = match add_negative(&app, &caller, &detection, subject).await? {
        Ok(negative) => (Some(negative), None),
        Err(reason) => (None, Some(reason)),
    };
    Ok(Json(Rejection { detection: id.to_string(), subject, negative, reason }))
}

/// Undoes the rejection of the subject of a detection: its negative is removed, and the detection and its alerts have subject and similarity
/// again.
#[utoipa::path(
    delete, path = "/v1/detections/{id}/reject", operation_id = "restore_detection", tag = "faces",
    params(("id" = String, Path, description = "`<frame id>-<detector>-<n>`", pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[a-z0-9_]{1,32}-[0-9]{1,9}$")),
    responses(
        (status = 200, body = Rejection, description = "The detection has its subject again; `negative` is the id of the negative that was removed"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no detection has the id, it is not rejected, or its subject was deleted"),
    )
)]
pub async fn restore(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(id): PathId<DetectionId>,
    _: NoQuery,
) -> Result<Json<Rejection>, ApiError> {
    own_detection(&app, &caller, &id).await?;
    let not_rejected = || FaceError::NotRejected(id.clone());
    let subject = app.documents.rejected(&caller.tenant, &id).await?.ok_or_else(not_rejected)?.subject;
    // First the negative: a repeat after a failure still finds the rejection.
    let negative = remove_negative(&app, &caller, &id, subject).await?;
    if !app.documents.restore_rejected(&caller.tenant, &id).await? {
        return Err(not_rejected().into());
    }
    Ok(Json(Rejection { detection: id.to_string(), subject, negative, reason: None }))
}

/// Whether a detection has the attributes of a recognised face, or was rejected before. Programs that send detections of their own may set
/// any attributes.
fn may_be_rejected(attributes: &Attributes) -> bool {
    let is_id = |text: &str| text.parse::<SubjectId>().is_ok_and(|id| id.to_string() == text);
    match attributes.text("identity") {
        Some("subject") => {
            let number = attributes.get("similarity").is_none() || attributes.number("similarity").is_some();
            number && attributes.text("subject").is_some_and(is_id)
        }
        other => other == Some("rejected"),
    }
}

/// A detection of the caller itself: what is shared has the subjects of another tenant.
async fn own_detection(app: &App, caller: &Caller, id: &DetectionId) -> Result<StoredDetection, ApiError> {
    let scope = TenantScope::Tenant(caller.tenant.clone());
    let found = app.documents.detection(&scope, id).await?.filter(|found| found.tenant == caller.tenant);
    Ok(found.ok_or_else(|| FaceError::NoDetection(id.clone()))?)
}

/// Makes the face of a detection a negative of its subject, or of the one into which that was merged. The same detection has the same negative,
/// also after a merge: its id follows from the subject of the detection.
async fn add_negative(
    app: &App,
    caller: &Caller,
    detection: &StoredDetection,
    subject: SubjectId,
) -> Result<Result<VectorId, NoNegative>, ApiError> {
    let Some(active) = app.active_name().await? else { return Ok(Err(NoNegative::NoFaceModel)) };
    let galleries = app.database.galleries_of_tenant(&caller.tenant).await?;
    let of_model = |model: &str| vector_ids::of_negative(subject, model, &detection.id);
    let (ids, id) = (vector_ids::of_any_model(&active, &galleries, of_model), of_model(&active));
    let key = GalleryKey { tenant: caller.tenant.clone(), model: active };
    let person = person(app, caller, subject).await?;
    let known = app.database.vectors_of_subject(&key, person).await.map_err(gallery_failure)?;
    if let Some(known) = known.iter().find(|vector| ids.contains(&vector.id)) {
        return Ok(Ok(known.id));
    }
    // Before the image is read: it bounds the images in memory.
    let _place = app.place(&caller.tenant)?;
    let embedding = match embedding(app, caller, detection, &key.model).await? {
        Ok(embedding) => embedding,
        Err(reason) => return Ok(Err(reason)),
    };
    let negative = StoredVector { id, subject: person, kind: VectorKind::Negative, embedding };
    store_negative(app, caller, detection, subject, &key, &negative).await
}

/// The embedding of the face of a detection, from the kept image of its frame.
async fn embedding(
    app: &App,
    caller: &Caller,
    detection: &StoredDetection,
    model: &str,
) -> Result<Result<Embedding, NoNegative>, ApiError> {
    let Some(image) = kept_image(&*app.documents, &*app.blobs, &caller.tenant, detection.id.frame).await? else {
        return Ok(Err(NoNegative::ImageNotKept));
    };
    let faces = match app.encoders.of(model).faces(image).await {
        Ok(faces) => faces,
        Err(EncodeError::Image(_)) => return Ok(Err(NoNegative::FaceNotFound)),
        Err(EncodeError::NoModel(_)) => return Ok(Err(NoNegative::NoFaceModel)),
        Err(error) => return Err(error.into()),
    };
    let Some(face) = face_at(faces, detection.detection.bounds) else { return Ok(Err(NoNegative::FaceNotFound)) };
    Ok(face.embedding.ok_or(NoNegative::FaceNotComparable))
}

/// Stores the negative of a detection, unless the rejection of its `subject` was undone meanwhile.
async fn store_negative(
    app: &App,
    caller: &Caller,
    detection: &StoredDetection,
    subject: SubjectId,
    key: &GalleryKey,
    negative: &StoredVector,
) -> Result<Result<VectorId, NoNegative>, ApiError> {
    let source = detection.id.to_string();
    let target = app.database.face_models().await?.and_then(|models| models.target);
    match app.database.put_face(key, negative, Some(&source), target.as_deref(), Timestamp::now()).await? {
        VectorWriteOutcome::Stored => {
            // The rejection may have been undone meanwhile, before there was a negative to remove.
            if app.documents.rejected(&caller.tenant, &detection.id).await?.is_none() {
                remove_negative(app, caller, &detection.id, subject).await?;
                return Err(FaceError::NotRecognised(detection.id.clone()).into());
            }
            Ok(Ok(negative.id))
        }
        VectorWriteOutcome::ModelChanged => Err(FaceError::ModelChanged.into()),
        VectorWriteOutcome::UnknownSubject(_) => Ok(Err(NoNegative::SubjectDeleted)),
        VectorWriteOutcome::NoConsent(_) => Ok(Err(NoNegative::ConsentMissing)),
        VectorWriteOutcome::TooMany(_) => Ok(Err(NoNegative::TooManyNegatives)),
        outcome @ (VectorWriteOutcome::TooManyAtOnce | VectorWriteOutcome::WrongLength(_)) => {
            Err(ServiceError::Internal(anyhow::anyhow!("{}: a negative was not stored: {outcome:?}", key.model)).into())
        }
    }
}

/// Removes the negatives of a detection, of all models. Returns the id of one.
async fn remove_negative(
    app: &App,
    caller: &Caller,
    detection: &DetectionId,
    subject: SubjectId,
) -> Result<Option<VectorId>, ApiError> {
    let galleries = app.database.galleries_of_tenant(&caller.tenant).await?;
    let ids: Vec<VectorId> =
        galleries.iter().map(|key| vector_ids::of_negative(subject, &key.model, detection)).collect();
    let person = person(app, caller, subject).await?;
    Ok(app.database.remove_negatives(&caller.tenant, person, &ids, Timestamp::now()).await?)
}

/// The subject that has the faces of a detection's subject: the detection keeps the id of one that was merged, and the person is the one that
/// stays.
async fn person(app: &App, caller: &Caller, subject: SubjectId) -> Result<SubjectId, ApiError> {
    let mut merged = app.database.merged_into(&caller.tenant, &[subject]).await?;
    Ok(merged.remove(&subject).unwrap_or(subject))
}

/// The image of a frame of a tenant, if it is kept.
///
/// # Errors
/// When a store fails.
pub async fn kept_image(
    documents: &dyn Documents,
    blobs: &dyn Blobs,
    tenant: &TenantId,
    frame: FrameId,
) -> Result<Option<Bytes>, StoreError> {
    let results = documents.frame(&TenantScope::Tenant(tenant.clone()), frame).await?;
    let key = results.iter().find_map(|stored| {
        let Outcome::Ok { image: Some(key), .. } = &stored.result.data.outcome else { return None };
        // An external result may contain any key.
        key.is_kept_image_of(tenant, frame).then_some(key)
    });
    match key {
        Some(key) => blobs.get(key).await,
        None => Ok(None),
    }
}

/// The face that is at the place of a detection.
pub fn face_at(faces: Vec<Face>, bounds: Option<BoundingBox>) -> Option<Face> {
    let bounds = bounds?;
    let overlap = |face: &Face| face.detection.bounds.map_or(0.0, |found| found.iou(&bounds));
    let best = faces.into_iter().max_by(|one, other| overlap(one).total_cmp(&overlap(other)))?;
    (overlap(&best) >= LEAST_OVERLAP).then_some(best)
}
