//! Makes the vectors of the model to which the service changes, beside those of the model that compares.
//!
//! ```text
//! faces of the active model without a vector of the target ──▶ kept image ──▶ Encoder of the target ──▶ vectors with the same ids
//!      └─ no image, or no such face in it: a gap, which the status names
//! nothing left ──▶ Relational::switch_model
//! ```
//!
//! In: a change that was begun, on any instance. Out: vectors and gaps, and at the end the switch.
//!
//! Guarantees: it begins where it stopped, also after a crash, because the vectors that exist are the record of what is done. One process at a
//! time works. One image at a time is embedded, with sessions of its own, so requests keep their places. A face that is enrolled
//! meanwhile is embedded before the switch. Nothing is switched while subjects would be lost, unless the operator accepted that.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use contracts::{BlobKey, DetectionId, TenantId, VectorId};
use gallery::{Embedding, GalleryKey, StoredVector, VectorKind};
use jiff::{SignedDuration, Timestamp};
use store::TenantScope;
use store::relational::{FaceToEmbed, Gap, SourcedVector, SwitchOutcome, VectorWriteOutcome};
use uuid::Uuid;

use crate::encoder::EncodeError;
use crate::gallery_keys::GalleryKeys;
use crate::http::App;
use crate::http::reject::{face_at, kept_image};

/// Time between two looks whether a change was begun on another instance, or a process with one has ended.
const PAUSE: Duration = Duration::from_secs(5);
/// The same after a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// Time after which another process takes over from one that ended.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// Faces that are stored with one transaction. It must be embedded within [`LEASE`].
const BATCH: usize = 16;
/// Rounds over all tenants until it looks again later: each round after the first has only what came during the one before it.
const ROUNDS: u32 = 10;

/// Works on changes that were begun, without end.
pub async fn reembed_regularly(app: &App) {
    let worker = Uuid::now_v7();
    loop {
        let pause = match work(app, worker).await {
            Ok(()) => PAUSE,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the change of the model that compares faces waits");
                PAUSE_AFTER_FAILURE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.change_begun.notified() => {}
        }
    }
}

/// A change that this process works on.
struct Work<'a> {
    app: &'a App,
    worker: Uuid,
    active: String,
    target: String,
}

/// Embeds what the target misses, and switches.
async fn work(app: &App, worker: Uuid) -> anyhow::Result<()> {
    let Some(models) = app.database.face_models().await? else { return Ok(()) };
    let used = [Some(models.active.as_str()), models.target.as_deref()];
    app.encoders.keep_only(&used.into_iter().flatten().collect::<Vec<_>>());
    let Some(target) = models.target else { return Ok(()) };
    // Before it takes the work: another process may have the file.
    app.encoders.of(&target).model().await?;
    let work = Work { app, worker, active: models.active, target };
    for _ in 0..ROUNDS {
        if !work.goes_on().await? {
            return Ok(());
        }
        if !work.embed_all().await? {
            return Ok(());
        }
        match app.database.switch_model(Timestamp::now()).await? {
            SwitchOutcome::Switched => {
                tracing::info!(model = work.target, "the model that compares faces was changed");
                return Ok(());
            }
            SwitchOutcome::WouldLose(_) | SwitchOutcome::NoChange => return Ok(()),
            SwitchOutcome::NotComplete => {}
        }
    }
    Ok(())
}

impl Work<'_> {
    /// Takes the work, or keeps it. `false` if another process has it, or the change was ended.
    async fn goes_on(&self) -> anyhow::Result<bool> {
        let now = Timestamp::now();
        let until = now.checked_add(LEASE).unwrap_or(now);
        if !self.app.database.take_model_change(self.worker, now, until).await? {
            return Ok(false);
        }
        let models = self.app.database.face_models().await?;
        Ok(models.is_some_and(|models| models.active == self.active && models.target.as_ref() == Some(&self.target)))
    }

    /// One round over all tenants. `false` if the work is not this process's any more.
    async fn embed_all(&self) -> anyhow::Result<bool> {
        let database = &self.app.database;
        let mut keys = GalleryKeys::of(database, &self.active);
        while let Some(gallery) = keys.next().await? {
            let mut after: Option<VectorId> = None;
            loop {
                let faces = database.faces_to_embed(&gallery, &self.target, after, BATCH).await?;
                let Some(last) = faces.last() else { break };
                after = Some(last.id);
                if !self.goes_on().await? {
                    return Ok(false);
                }
                self.embed(&gallery, faces).await?;
            }
        }
        Ok(true)
    }

    /// Embeds some faces of a tenant, and stores the vectors and the gaps.
    async fn embed(&self, gallery: &GalleryKey, faces: Vec<FaceToEmbed>) -> anyhow::Result<()> {
        let (mut vectors, mut gaps) = (Vec::new(), Vec::new());
        for face in faces {
            match self.embedding(&gallery.tenant, &face).await? {
                Ok(embedding) => {
                    let FaceToEmbed { id, subject, kind, source } = face;
                    vectors.push(SourcedVector { vector: StoredVector { id, subject, kind, embedding }, source });
                }
                Err(gap) => gaps.push((face.id, gap)),
            }
        }
        while !vectors.is_empty() {
            let put = self.app.database.put_reembedded(gallery, &self.target, &vectors, Timestamp::now());
            match put.await? {
                VectorWriteOutcome::Stored => break,
                VectorWriteOutcome::TooMany(subject) => {
                    let over = vectors.extract_if(.., |face| face.vector.subject == subject);
                    gaps.extend(over.map(|face| (face.vector.id, Gap::TooManyFaces)));
                }
                outcome => anyhow::bail!("{}: faces were not stored: {outcome:?}", self.target),
            }
        }
        Ok(self.app.database.put_gaps(gallery, &self.target, &gaps).await?)
    }

    /// The embedding of a face, of the image with which it was enrolled or rejected.
    async fn embedding(&self, tenant: &TenantId, face: &FaceToEmbed) -> anyhow::Result<Result<Embedding, Gap>> {
        let Some(source) = &face.source else { return Ok(Err(Gap::ImageNotKept)) };
        match face.kind {
            VectorKind::Enrolled => self.enrolled(tenant, source).await,
            VectorKind::Negative => self.negative(tenant, source).await,
        }
    }

    async fn enrolled(&self, tenant: &TenantId, source: &str) -> anyhow::Result<Result<Embedding, Gap>> {
        let key = source.parse::<BlobKey>().ok().filter(|key| key.is_enrolled_of(tenant));
        let Some(key) = key else { return Ok(Err(Gap::ImageNotKept)) };
        let Some(image) = self.app.blobs.get(&key).await? else { return Ok(Err(Gap::ImageNotKept)) };
        let Some(mut faces) = self.faces(image).await? else { return Ok(Err(Gap::FaceNotFound)) };
        let only = faces.pop().filter(|_| faces.is_empty());
        Ok(only.ok_or(Gap::FaceNotFound).and_then(|face| face.embedding.ok_or(Gap::FaceNotComparable)))
    }

    async fn negative(&self, tenant: &TenantId, source: &str) -> anyhow::Result<Result<Embedding, Gap>> {
        let id: DetectionId = source.parse().ok().context("the stored id of a rejected detection cannot be read")?;
        let documents = &*self.app.documents;
        let found = documents.detection(&TenantScope::Tenant(tenant.clone()), &id).await?;
        let image = kept_image(documents, &*self.app.blobs, tenant, id.frame).await?;
        let (Some(found), Some(image)) = (found, image) else { return Ok(Err(Gap::ImageNotKept)) };
        let Some(faces) = self.faces(image).await? else { return Ok(Err(Gap::FaceNotFound)) };
        let face = face_at(faces, found.detection.bounds);
        Ok(face.ok_or(Gap::FaceNotFound).and_then(|face| face.embedding.ok_or(Gap::FaceNotComparable)))
    }

    /// The faces of an image; `None` if it cannot be decoded.
    async fn faces(&self, image: Bytes) -> anyhow::Result<Option<Vec<crate::encoder::Face>>> {
        match self.app.encoders.of(&self.target).faces(image).await {
            Ok(faces) => Ok(Some(faces)),
            Err(EncodeError::Image(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
