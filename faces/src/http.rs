//! The routes under `/v1/faces`, those that reject a detection, and that of a user's photograph.

mod compare;
mod enrol;
mod error;
mod image_body;
mod photo;
mod reject;
mod subjects;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use api_kit::ApiState;
use api_kit::error::ApiError;
use api_kit::middleware::{with_middleware, with_timeout};
use api_kit::openapi;
use api_kit::upload::{BodyLimits, BytesInFlight};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use contracts::{TenantId, Topics};
use gallery::{Embedding, Galleries, GalleryKey};
use platform::Health;
use store::{Blobs, Documents, Relational};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa_axum::router::OpenApiRouter;

use crate::checks::one_face;
use crate::encoder::{Encoder, Face, FaceModel};
use crate::uploads::Uploads;
use crate::{Config, Deps, Faces, SharedArgs};
use error::FaceError;

/// Largest JSON body, in bytes: metadata with the escapes of JSON.
const JSON_BYTES: usize = 64 << 10;
/// Bytes of a form besides its images: boundaries and headers of its fields.
const FORM_OVERHEAD: usize = 16 << 10;
/// Maximum pause between two chunks of a body.
const BODY_IDLE: Duration = Duration::from_secs(10);
/// Maximum time for a body.
const BODY_TOTAL: Duration = Duration::from_secs(30);
/// Time limit for the response of a route without an image.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same of a route with an image, which may open the models.
const IMAGE_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Routes of this service with their part of the OpenAPI document.
pub type Routes = api_kit::describe::Routes<App>;

/// State of the handlers. Clones share it.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// The fields of [`App`].
pub struct Inner {
    /// Authenticates callers.
    accounts: Arc<dyn Accounts>,
    /// Subjects and vectors.
    pub(crate) database: Relational,
    /// Finds faces and makes their embeddings.
    pub(crate) encoder: Arc<Encoder>,
    /// The galleries that are searched.
    galleries: Galleries,
    /// Detections and alerts.
    documents: Arc<dyn Documents>,
    /// Kept images.
    blobs: Arc<dyn Blobs>,
    /// The retention of what a deletion does not reach, and of uploads.
    pub(crate) topics: Topics,
    /// The log and the folder of uploads; `None` if there is none.
    pub(crate) uploads: Option<Uploads>,
    /// One permit for each image that is decoded or compared.
    images: Semaphore,
    /// The bytes of request bodies in memory.
    bytes_in_flight: Arc<BytesInFlight>,
    /// Bytes of the largest image.
    max_bytes: usize,
    /// Whether faces may be searched.
    may_search: bool,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl ApiState for App {
    fn accounts(&self) -> &dyn Accounts {
        &*self.accounts
    }

    fn bytes_in_flight(&self) -> &Arc<BytesInFlight> {
        &self.bytes_in_flight
    }

    fn json_limits(&self) -> BodyLimits {
        BodyLimits { bytes: JSON_BYTES, idle: BODY_IDLE, total: BODY_TOTAL }
    }
}

impl App {
    /// The state at the start.
    pub fn new(config: &Config, shared: &SharedArgs, deps: &Deps) -> Self {
        let gauge = metrics::gauge!("sightline_faces_bytes_in_flight");
        Self(Arc::new(Inner {
            accounts: deps.accounts.clone(),
            database: deps.database.clone(),
            encoder: Arc::new(Encoder::new(shared)),
            galleries: deps.galleries.clone(),
            documents: Arc::clone(&deps.documents),
            blobs: Arc::clone(&deps.blobs),
            topics: deps.topics.clone(),
            uploads: deps.uploads.clone(),
            images: Semaphore::new(config.faces_requests),
            bytes_in_flight: BytesInFlight::new(config.faces_bytes_in_flight, gauge),
            max_bytes: shared.frames.max_frame_bytes,
            may_search: shared.uses.faces_search,
        }))
    }

    /// Limits of a body that is an image.
    fn image_limits(&self) -> BodyLimits {
        BodyLimits { bytes: self.max_bytes, ..self.json_limits() }
    }

    /// Limits of a form with two images.
    fn pair_limits(&self) -> BodyLimits {
        BodyLimits { bytes: 2 * self.max_bytes + FORM_OVERHEAD, ..self.json_limits() }
    }

    /// The gallery of a tenant for a model.
    fn key(tenant: &TenantId, model: &FaceModel) -> GalleryKey {
        GalleryKey { tenant: tenant.clone(), model: model.name.clone() }
    }

    /// A place among the images that are decoded and compared at the same time.
    ///
    /// # Errors
    /// When all are taken.
    fn place(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.images.try_acquire().map_err(|_| FaceError::Busy.into())
    }

    /// The one face of an image, with its embedding.
    ///
    /// # Errors
    /// When too many images are compared, the image cannot be decoded, or it does not have exactly one face.
    async fn face(&self, encoded: Bytes) -> Result<(Face, Embedding), ApiError> {
        let _place = self.place()?;
        Ok(one_face(self.encoder.faces(encoded).await?)?)
    }
}

/// All routes.
pub fn routes() -> Routes {
    let with_image = enrol::routes().merge(compare::routes()).merge(reject::routes()).merge(photo::routes());
    with_timeout(RESPONSE_TIMEOUT, subjects::routes()).merge(with_timeout(IMAGE_RESPONSE_TIMEOUT, with_image))
}

/// The router of a process that has only this service.
pub fn router(faces: &Faces, health: &Health) -> Router {
    let document = OpenApiRouter::with_openapi(openapi::base());
    let (routes, document) = document.merge(faces.routes()).split_for_parts();
    let document = Json(document);
    let routes = routes.merge(health.router()).route("/openapi.json", get(|| async { document }));
    with_middleware(routes)
}
