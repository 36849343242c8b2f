//! The model that compares faces: which one it is, and changing it. For the operator, because it concerns all users.

use api_kit::auth::Authorized;
use api_kit::error::ApiError;
use api_kit::extract::NoQuery;
use api_kit::json_body::JsonBody;
use api_kit::routes;
use api_kit::scope::Admin;
use axum::Json;
use axum::extract::State;
use contracts::api::{EmbeddedFaces, FaceModelChange, FaceModelStatus, MissingFace, Problem, SubjectWithoutFace};
use gallery::GalleryKey;
use jiff::Timestamp;
use store::StoreError;
use store::relational::{Coverage, FaceCounts, Gap, SubjectWithout, SwitchOutcome};

use super::error::FaceError;
use super::{App, Routes};
use crate::encoder::EncodeError;
use crate::gallery_keys::GalleryKeys;

/// Maximum number of subjects that a status names.
const NAMED: usize = 100;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![status, change]
}

/// The model that compares faces, and how far its change to another one is.
#[utoipa::path(
    get, path = "/v1/faces/model", operation_id = "face_model", tag = "faces",
    responses((status = 200, body = FaceModelStatus))
)]
pub async fn status(
    State(app): State<App>,
    _: Authorized<Admin>,
    _: NoQuery,
) -> Result<Json<FaceModelStatus>, ApiError> {
    Ok(Json(read_status(&app).await?))
}

/// Changes the model that compares faces. The kept images of all subjects are embedded with the new model, while the old one compares; when
/// nothing is missing, the new one compares from one moment to the next. The embeddings of the old model stay, so a change back is done at
/// once. The response says how far it is.
#[utoipa::path(
    put, path = "/v1/faces/model", operation_id = "change_face_model", tag = "faces", request_body = FaceModelChange,
    responses(
        (status = 200, body = FaceModelStatus, description = "The change has begun, or is done: then `target` is `null`"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`invalid`: the server has no such model"),
    )
)]
pub async fn change(
    State(app): State<App>,
    _: Authorized<Admin>,
    _: NoQuery,
    JsonBody(FaceModelChange { model, without_missing }): JsonBody<FaceModelChange>,
) -> Result<Json<FaceModelStatus>, ApiError> {
    // Opened now, so that a file that cannot be used is found before anything is changed.
    match app.encoders.of(&model).model().await {
        Ok(_) => {}
        Err(error @ (EncodeError::NoModel(_) | EncodeError::NotMeasured(_))) => {
            app.encoders.forget(&model);
            // The text names folders of the server, so the client does not get it.
            tracing::warn!(error = error.to_string(), "the model that compares faces is not changed");
            return Err(FaceError::NotAFaceModel(model).into());
        }
        Err(error) => return Err(error.into()),
    }
    let active = app.active_name().await?.unwrap_or_else(|| model.clone());
    app.database.begin_model_change(&active, &model, without_missing, Timestamp::now()).await?;
    tracing::info!(from = active, to = model, without_missing, "the model that compares faces is being changed");
    // Where nothing is missing, as on the way back, it is done with the response.
    if app.database.switch_model(Timestamp::now()).await? == SwitchOutcome::NotComplete {
        app.change_begun.notify_one();
    }
    Ok(Json(read_status(&app).await?))
}

async fn read_status(app: &App) -> Result<FaceModelStatus, ApiError> {
    let stored = app.database.face_models().await?;
    let active = app.active_name().await?;
    let (target, without_missing) = stored.map_or((None, false), |models| (models.target, models.without_missing));
    let mut status = FaceModelStatus {
        active: active.clone(),
        target: target.clone(),
        without_missing,
        faces: EmbeddedFaces::default(),
        negatives: EmbeddedFaces::default(),
        subjects_without: 0,
        without: Vec::new(),
    };
    let Some(active) = active else { return Ok(status) };
    let target = target.unwrap_or_else(|| active.clone());
    let mut keys = GalleryKeys::of(&app.database, &active);
    while let Some(gallery) = keys.next().await? {
        add_gallery(app, &mut status, &gallery, &target).await?;
    }
    Ok(status)
}

/// Adds the faces of a tenant to a status.
async fn add_gallery(
    app: &App,
    status: &mut FaceModelStatus,
    gallery: &GalleryKey,
    target: &str,
) -> Result<(), StoreError> {
    let Coverage { faces, negatives, without } = app.database.coverage(gallery, target).await?;
    add(&mut status.faces, faces);
    add(&mut status.negatives, negatives);
    status.subjects_without += without.len() as u64;
    let room = NAMED.saturating_sub(status.without.len());
    let some = without.into_iter().take(room).map(|SubjectWithout { subject, faces, reason }| SubjectWithoutFace {
        tenant: gallery.tenant.clone(),
        subject,
        faces,
        reason: missing(reason),
    });
    status.without.extend(some);
    Ok(())
}

fn add(sum: &mut EmbeddedFaces, FaceCounts { total, embedded, missing }: FaceCounts) {
    sum.total += total;
    sum.embedded += embedded;
    sum.missing += missing;
}

const fn missing(gap: Gap) -> MissingFace {
    match gap {
        Gap::ImageNotKept => MissingFace::ImageNotKept,
        Gap::FaceNotFound => MissingFace::FaceNotFound,
        Gap::FaceNotComparable => MissingFace::FaceNotComparable,
        Gap::TooManyFaces => MissingFace::TooManyFaces,
    }
}
