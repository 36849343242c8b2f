//! The enrolled faces of a subject, one by one: which there are, and removing a wrong one.

use api_kit::auth::Authorized;
use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId, PathIds};
use api_kit::routes;
use api_kit::scope::{FacesRead, FacesWrite};
use axum::Json;
use axum::extract::State;
use contracts::api::{Page, Problem, SubjectImage};
use contracts::{BlobKey, SubjectId, TenantId, VectorId};
use gallery::GalleryKey;
use http::StatusCode;
use jiff::Timestamp;

use super::error::FaceError;
use super::{App, Routes};

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, remove]
}

/// The enrolled faces of a subject for the model that compares, all on one page. The response has no embedding.
#[utoipa::path(
    get, path = "/v1/faces/subjects/{id}/images", operation_id = "list_enrolled_faces", tag = "faces",
    params(("id" = SubjectId, Path, description = "The subject's id")),
    responses(
        (status = 200, body = Page<SubjectImage>),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no subject has the id"),
    )
)]
pub async fn list(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    PathId(subject): PathId<SubjectId>,
    _: NoQuery,
) -> Result<Json<Page<SubjectImage>>, ApiError> {
    if app.database.subject(&caller.tenant, subject).await?.is_none() {
        return Err(FaceError::NoSubject(subject).into());
    }
    let mut items = Vec::new();
    if let Some(model) = app.active_name().await? {
        let key = GalleryKey { tenant: caller.tenant, model };
        let faces = app.database.enrolled_faces(&key, subject).await?;
        items.extend(faces.into_iter().map(|face| SubjectImage {
            id: face.id,
            model: key.model.clone(),
            image_kept: face.source.is_some(),
        }));
    }
    Ok(Json(Page { items, next_cursor: None }))
}

/// Deletes an enrolled face of a subject: its embeddings of all models, and its kept image. No search that begins after the response compares
/// with it, on any instance. After an error, send the request again: it does the rest.
#[utoipa::path(
    delete, path = "/v1/faces/subjects/{id}/images/{image}", operation_id = "delete_enrolled_face", tag = "faces",
    params(
        ("id" = SubjectId, Path, description = "The subject's id"),
        ("image" = VectorId, Path, description = "The id of the enrolled face"),
    ),
    responses(
        (status = 204, description = "The face is deleted"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: the subject does not exist, or has no such face"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathIds(subject, image): PathIds<SubjectId, VectorId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    let tenant = &caller.tenant;
    if !app.database.is_enrolled(tenant, subject, image).await? {
        return Err(FaceError::NoFace(subject, image).into());
    }
    // First the kept image, so that a repeat after a failure still finds the face.
    delete_image(&app, tenant, subject, image).await?;
    let removed = app.database.remove_enrolled(tenant, subject, image, Timestamp::now()).await?;
    // Again: the same image may have been enrolled and kept between the two.
    delete_image(&app, tenant, subject, image).await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(FaceError::NoFace(subject, image).into()) }
}

/// Removes the enrolled faces of a subject whose image is that of another one of its faces, and then their kept images: only after their
/// removal is it certain which one stays. Images that are left after an error are deleted with the subject.
pub async fn remove_twins(app: &App, tenant: &TenantId, subject: SubjectId) -> Result<(), ApiError> {
    for image in app.database.remove_twins(tenant, subject, Timestamp::now()).await? {
        delete_image(app, tenant, subject, image).await?;
    }
    Ok(())
}

/// Deletes the kept image of a face. That of a merged subject is under the earlier id.
async fn delete_image(app: &App, tenant: &TenantId, subject: SubjectId, image: VectorId) -> Result<(), ApiError> {
    for owner in app.database.merged_subjects(tenant, subject).await?.into_iter().chain([subject]) {
        app.blobs.delete(&BlobKey::of_enrolled(tenant, owner, image)).await?;
    }
    Ok(())
}
