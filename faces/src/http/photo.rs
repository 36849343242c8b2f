//! A user's photograph: a file in the folder of uploads, and the message that names it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use api_kit::auth::Authorized;
use api_kit::error::{ApiError, ServiceError};
use api_kit::extract::NoQuery;
use api_kit::routes;
use api_kit::scope::FacesWrite;
use axum::Json;
use axum::extract::State;
use bus::Position;
use contracts::api::{PhotoAccepted, Problem};
use contracts::{Event, FaceUpload, FaceVerifiedEvent, TenantId};
use http::StatusCode;

use super::error::FaceError;
use super::image_body::ImageBody;
use super::{App, Routes};
use crate::uploads::{UploadFolder, Uploads, WriteError};

/// Maximum time until the log has stored the message.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes of this file.
pub fn routes() -> Routes {
    routes![send_photo]
}

/// Sends a photograph that verifies the current user. The first one enrols the face, and later ones must show the same person. The outcome
/// is `photo` of `GET /v1/users/me`, with the `id` of this response, and an event on the topic `faces_verified`. The image is deleted
/// after its verification. The body is an image, or a form with one in the field `image`.
#[utoipa::path(
    post, path = "/v1/users/me/photo", operation_id = "send_photo", tag = "users",
    request_body(content(("image/jpeg"), ("image/png"), ("image/webp"), ("multipart/form-data"))),
    responses(
        (status = 202, body = PhotoAccepted, description = "The photograph is stored and will be verified"),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`forbidden`: the credential does not allow it; `no_user`: it belongs to no user; `uploads_off`: photographs verify \
                           nobody on this server"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`conflict`: too many photographs of the user wait"),
    )
)]
pub async fn send_photo(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    _: NoQuery,
    image: ImageBody,
) -> Result<(StatusCode, Json<PhotoAccepted>), ApiError> {
    let uploads = app.uploads.clone().ok_or(FaceError::UploadsOff)?;
    let user_id = caller.user.ok_or(FaceError::NoUser)?;
    let user = app.database.user(user_id).await?.ok_or(FaceError::NoUser)?;
    let username = user.username.or(user.email).unwrap_or_default();
    // Before anything is stored, because it may fail.
    let topic_id = uploads.topic_id().await.map_err(ServiceError::from)?.to_owned();
    // In a task that ends even if the client goes away: a file without a message would count against the user for days.
    let sending = tokio::spawn(async move {
        let path = write(&uploads.folder, &caller.tenant, &image).await?;
        send(&uploads, &topic_id, FaceUpload { username, path, user_id: Some(user_id) }).await
    });
    let accepted = sending.await.map_err(|error| ServiceError::Internal(error.into()))??;
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// Sends the message of a file that is written. After a failure, the file is deleted.
async fn send(uploads: &Uploads, topic_id: &str, upload: FaceUpload) -> Result<PhotoAccepted, ApiError> {
    let error = match publish(uploads, &upload).await {
        Ok(Position { partition, offset }) => {
            let id = FaceVerifiedEvent::id_at(topic_id, partition, offset);
            return Ok(PhotoAccepted { path: upload.path, id });
        }
        Err(error) => error,
    };
    let folder = Arc::clone(&uploads.folder);
    // What stays is swept when no message can name it any more.
    let removed = tokio::task::spawn_blocking(move || folder.remove(&upload.path)).await;
    if !matches!(removed, Ok(Ok(()))) {
        tracing::warn!("a photograph without a message stays in the folder of uploads for some time");
    }
    Err(error)
}

async fn write(folder: &Arc<UploadFolder>, tenant: &TenantId, image: &ImageBody) -> Result<String, ApiError> {
    let (folder, tenant, encoded) = (Arc::clone(folder), tenant.clone(), image.encoded.clone());
    let written = tokio::task::spawn_blocking(move || folder.write(&tenant, &encoded)).await;
    match written.map_err(|error| ServiceError::Internal(error.into()))? {
        Ok(path) => Ok(path),
        Err(WriteError::TooManyOfUser) => Err(FaceError::TooManyPhotos.into()),
        Err(WriteError::TooMany) => Err(ServiceError::Busy.into()),
        Err(WriteError::Failed(error)) => Err(disk_failure(&error).into()),
    }
}

fn disk_failure(error: &io::Error) -> ServiceError {
    let cause = format!("the folder of uploads: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ServiceError::DiskFull(cause),
        _ => ServiceError::Unavailable(cause),
    }
}

async fn publish(uploads: &Uploads, upload: &FaceUpload) -> Result<Position, ApiError> {
    let sent = uploads.bus.producer().send(FaceUpload::ROLE, upload.to_message()).map_err(ServiceError::from)?;
    match tokio::time::timeout(ACK_TIMEOUT, sent).await {
        Ok(Ok(position)) => Ok(position),
        Ok(Err(error)) => Err(ServiceError::from(error).into()),
        Err(_) => {
            let cause = format!("the broker did not acknowledge within {ACK_TIMEOUT:?}");
            Err(ServiceError::Unavailable(cause).into())
        }
    }
}
