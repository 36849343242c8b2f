//! The routes under `/v1/faces`, those that reject a detection, and that of a user's photograph.

mod compare;
mod current_model;
mod enrol;
mod error;
mod image_body;
mod image_places;
mod images;
mod model;
mod photo;
pub mod reject;
mod subject_views;
mod subjects;
mod watchlists;

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
use contracts::{SubjectId, TenantId, Topics};
use gallery::Galleries;
use jiff::Timestamp;
use platform::Health;
use store::{Blobs, Documents, Relational};
use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;

use crate::encoder::Encoders;
use crate::uploads::Uploads;
use crate::{Config, ConsentRule, Deps, Faces, SharedArgs};
use error::FaceError;
use image_places::{ImagePlaces, Place};

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

/// Path of the document of this service alone. A server with several services has one of all of them at `/openapi.json`; behind a proxy
/// that path is another service's.
const DOCUMENT: &str = "/v1/faces/openapi.json";

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
    pub database: Relational,
    /// Find faces and make their embeddings.
    pub encoders: Arc<Encoders>,
    /// Wakes the task that makes the vectors of another model.
    pub change_begun: Notify,
    /// The galleries that are searched.
    galleries: Galleries,
    /// Detections and alerts.
    pub documents: Arc<dyn Documents>,
    /// Kept images.
    pub blobs: Arc<dyn Blobs>,
    /// The retention of what a deletion does not reach, and of uploads.
    pub topics: Topics,
    /// The log and the folder of uploads; `None` if there is none.
    pub uploads: Option<Uploads>,
    /// A place for each request whose images are decoded and compared.
    images: ImagePlaces,
    /// The bytes of request bodies in memory.
    bytes_in_flight: BytesInFlight,
    /// Bytes of the largest image.
    max_bytes: usize,
    /// Whether faces may be searched.
    may_search: bool,
    /// Whether images with which faces are enrolled are kept.
    keep_images: bool,
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

    fn bytes_in_flight(&self) -> &BytesInFlight {
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
        let max_bytes = shared.frames.max_frame_bytes;
        Self(Arc::new(Inner {
            accounts: deps.accounts.clone(),
            database: deps
                .database
                .clone()
                .with_subject_limit(config.faces_subjects)
                .requiring_consent(config.faces_consent == ConsentRule::Required),
            encoders: Arc::new(Encoders::new(shared)),
            change_begun: Notify::new(),
            galleries: deps.galleries.clone(),
            documents: Arc::clone(&deps.documents),
            blobs: Arc::clone(&deps.blobs),
            topics: deps.topics.clone(),
            uploads: deps.uploads.clone(),
            images: ImagePlaces::new(config.faces_requests),
            bytes_in_flight: BytesInFlight::new(config.faces_bytes_in_flight, largest_form(max_bytes), gauge),
            max_bytes,
            may_search: shared.uses.faces_search,
            keep_images: config.faces_keep_images,
        }))
    }

    /// Limits of a body that is an image.
    fn image_limits(&self) -> BodyLimits {
        BodyLimits { bytes: self.max_bytes, ..self.json_limits() }
    }

    /// Limits of a form with several images, together as large as two of the largest.
    fn form_limits(&self) -> BodyLimits {
        BodyLimits { bytes: largest_form(self.max_bytes), ..self.json_limits() }
    }

    /// Checks that the faces of a subject of the tenant may be enrolled and compared, before a model runs.
    ///
    /// # Errors
    /// When the tenant has no such subject, or it has no valid consent.
    async fn check_comparable(&self, tenant: &TenantId, id: SubjectId) -> Result<(), ApiError> {
        let subject = self.database.subject(tenant, id).await?.ok_or(FaceError::NoSubject(id))?;
        if self.database.may_compare(subject.consent.as_ref(), Timestamp::now()) {
            return Ok(());
        }
        Err(FaceError::ConsentMissing(id).into())
    }

    /// A place among the requests whose images are decoded and compared at the same time.
    ///
    /// # Errors
    /// When all are taken, or the tenant has its share.
    fn place(&self, tenant: &TenantId) -> Result<Place, ApiError> {
        Ok(self.images.take(tenant)?)
    }
}

/// Bytes of the largest form with images of at most `max_bytes`.
const fn largest_form(max_bytes: usize) -> usize {
    max_bytes.saturating_mul(2).saturating_add(FORM_OVERHEAD)
}

/// All routes, and their document.
pub fn routes() -> Routes {
    let with_image =
        enrol::routes().merge(compare::routes()).merge(reject::routes()).merge(model::routes()).merge(photo::routes());
    let without_image = subjects::routes().merge(images::routes()).merge(watchlists::routes());
    let routes = with_timeout(RESPONSE_TIMEOUT, without_image).merge(with_timeout(IMAGE_RESPONSE_TIMEOUT, with_image));
    let document = Json(openapi::base().merge_from(routes.get_openapi().clone()));
    routes.route(DOCUMENT, get(|| async { document }))
}

/// The router of a process that has only this service.
pub fn router(faces: &Faces, health: &Health) -> Router {
    let document = OpenApiRouter::with_openapi(openapi::base());
    let (routes, document) = document.merge(faces.routes()).split_for_parts();
    let document = Json(document);
    let routes = routes.merge(health.router()).route("/openapi.json", get(|| async { document }));
    with_middleware(routes)
}
