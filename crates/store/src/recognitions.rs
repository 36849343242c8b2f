//! Who was recognised on a detection: forgetting a subject, and rejecting one detection ("not this person").
//!
//! A detection of a face that was compared has the attribute `identity`. With `subject` it also has `subject`, an id, and `similarity`.
//! An alert has the attributes of its detection. Forgetting replaces `identity` by `forgotten` and removes the other two; rejecting
//! does so with `rejected`, and the detection remembers its subject where no answer shows it. Its alerts follow when they are read.

mod alerts;
mod mongo;
mod sqlite;

use std::collections::BTreeSet;

use async_trait::async_trait;
use contracts::{BlobKey, DetectionId, FrameId, SubjectId, TenantId};
use futures::future::try_join_all;

use crate::results::StoreError;
use crate::{Blobs, Documents};

/// Maximum number of detections or alerts that one transaction changes.
const BATCH: u32 = 500;
/// Number of images that are deleted at the same time.
const DELETED_AT_ONCE: usize = 16;

/// The value of `identity` of a recognised subject.
const RECOGNISED: &str = "subject";
/// The value of `identity` after the subject was forgotten.
const FORGOTTEN: &str = "forgotten";
/// The value of `identity` after the subject was rejected.
const REJECTED: &str = "rejected";

/// Detections with the id of a subject, and the kept images of their frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recognised {
    /// Some of the detections; none if no detection has the id.
    pub detections: Vec<DetectionId>,
    /// Keys of the images, as the results of the frames have them.
    pub images: Vec<BlobKey>,
}

/// Whom a detection was taken for.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedIdentity {
    /// Id of the subject.
    pub subject: SubjectId,
    /// The similarity that the detection had.
    pub similarity: Option<f64>,
}

/// What [`forget_subject`] forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Detections that had the subject's id.
    pub detections: u64,
    /// Alerts that had it.
    pub alerts: u64,
    /// Kept images of frames in which the subject was recognised.
    pub images: u64,
    /// Kept images with which it was enrolled.
    pub enrolment_images: u64,
}

impl std::ops::AddAssign for Forgotten {
    fn add_assign(&mut self, other: Self) {
        self.enrolment_images += other.enrolment_images;
        self.detections += other.detections;
        self.alerts += other.alerts;
        self.images += other.images;
    }
}

/// The subjects of detections and alerts. No call reads or changes another tenant's documents, `shared` included. Expired documents
/// that the database has not deleted yet are changed like others.
#[async_trait]
pub trait RecognitionStore: Send + Sync {
    /// Detections that have the subject's id, at most 500 of them, with the kept images of their frames.
    async fn recognised(&self, tenant: &TenantId, subject: SubjectId) -> Result<Recognised, StoreError>;

    /// Forgets the subject on these detections, and that their frames have these images. Returns the number of detections that had its
    /// id. The caller has deleted the images. A repeat after a failure changes the rest.
    async fn forget_recognised(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        recognised: &Recognised,
    ) -> Result<u64, StoreError>;

    /// Forgets the subject on all alerts. Returns their number. A repeat after a failure changes the rest.
    async fn forget_in_alerts(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError>;

    /// Forgets whom rejected detections were taken for, if it was the subject. They stay `rejected`. Returns their number.
    async fn forget_rejected(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError>;

    /// Rejects the subject of a detection. Returns whom it was taken for, also if it is rejected already; `None` if it has no subject, or
    /// the tenant has no such detection.
    async fn reject(&self, tenant: &TenantId, id: &DetectionId) -> Result<Option<RejectedIdentity>, StoreError>;

    /// Whom a rejected detection was taken for; `None` if it is not rejected, its subject was forgotten, or the tenant has no such
    /// detection.
    async fn rejected(&self, tenant: &TenantId, id: &DetectionId) -> Result<Option<RejectedIdentity>, StoreError>;

    /// Undoes a rejection: the detection has its subject and similarity again. `false` if there is nothing to undo.
    async fn restore_rejected(&self, tenant: &TenantId, id: &DetectionId) -> Result<bool, StoreError>;
}

/// Forgets a subject in all documents of its tenant and on its watchlists, and deletes the images with which it was enrolled and the kept
/// images of the frames in which it was recognised. A repeat after
/// a failure or a crash does the rest: an image is deleted before the documents forget who is seen on it.
///
/// A result that is stored during the call may be missed; a later call finds it.
///
/// # Errors
/// When a store fails.
pub async fn forget_subject(
    documents: &dyn Documents,
    blobs: &dyn Blobs,
    tenant: &TenantId,
    subject: SubjectId,
) -> Result<Forgotten, StoreError> {
    let enrolment_images = blobs.delete_enrolled(tenant, subject).await?;
    let mut forgotten = Forgotten { enrolment_images, ..Forgotten::default() };
    documents.leave_watchlists(tenant, subject, None).await?;
    loop {
        let recognised = documents.recognised(tenant, subject).await?;
        if recognised.detections.is_empty() {
            break;
        }
        for some in recognised.images.chunks(DELETED_AT_ONCE) {
            try_join_all(some.iter().map(|key| blobs.delete(key))).await?;
        }
        forgotten.images += recognised.images.len() as u64;
        forgotten.detections += documents.forget_recognised(tenant, subject, &recognised).await?;
    }
    forgotten.detections += documents.forget_rejected(tenant, subject).await?;
    forgotten.alerts += documents.forget_in_alerts(tenant, subject).await?;
    if forgotten != Forgotten::default() {
        documents.empty_journal().await;
    }
    Ok(forgotten)
}

/// The ids of stored detections.
fn detection_ids(ids: &[String]) -> Result<Vec<DetectionId>, StoreError> {
    let read = |id: &String| {
        id.parse::<DetectionId>()
            .map_err(|error| StoreError::Fatal(format!("the stored detection {id} cannot be read: {error}")))
    };
    ids.iter().map(read).collect()
}

/// The frames of detections, each once.
fn frames_of(detections: &[DetectionId]) -> BTreeSet<FrameId> {
    detections.iter().map(|id| id.frame).collect()
}

/// Adds the key of a frame's kept image. An external producer's result may have any text there; only the image of this frame counts.
fn add_image(images: &mut Vec<BlobKey>, key: &str, tenant: &TenantId, frame: FrameId) {
    let key = key.parse::<BlobKey>().ok().filter(|key| key.is_kept_image_of(tenant, frame));
    // Each detector of the frame has a result with the same key.
    if let Some(key) = key
        && !images.contains(&key)
    {
        images.push(key);
    }
}
