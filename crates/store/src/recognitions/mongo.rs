//! Subjects of detections and alerts in MongoDB. A batch is several updates, in an order in which an interrupted one is repeated.

use async_trait::async_trait;
use contracts::{DetectionId, FrameId, IdError, SubjectId, TenantId};
use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::Hint;
use serde::Deserialize;

use super::alerts::{recognised_detections, remove_rejected};
use super::{
    BATCH, FORGOTTEN, RECOGNISED, REJECTED, Recognised, RecognitionStore, RejectedIdentity, add_image, detection_ids,
    frames_of,
};
use crate::frame_pages::result_range;
use crate::mongo::{BY_REJECTED, BY_SUBJECT, CallError, MongoDocuments};
use crate::query::Collection;
use crate::results::StoreError;
use crate::stored_docs::AlertDoc;

/// Number of frames in one query or update.
const FRAMES_PER_QUERY: usize = 100;

#[derive(Debug, Deserialize)]
struct IdDoc {
    #[serde(rename = "_id")]
    id: String,
}

/// A document with its owner.
#[derive(Debug, Deserialize)]
struct TenantDoc {
    #[serde(rename = "_id")]
    id: String,
    tenant: String,
}

/// A result with an image.
#[derive(Debug, Deserialize)]
struct ImageDoc {
    #[serde(rename = "_id")]
    id: String,
    image: String,
}

/// A detection that was rejected.
#[derive(Debug, Deserialize)]
struct RejectedDoc {
    rejected: RejectedField,
}

#[derive(Debug, Deserialize)]
struct RejectedField {
    subject: String,
    similarity: Option<f64>,
}

impl MongoDocuments {
    /// The alerts without the subjects that were rejected.
    pub(crate) async fn without_rejected(
        &self,
        mut alerts: Vec<AlertDoc<'static>>,
    ) -> Result<Vec<AlertDoc<'static>>, CallError> {
        let ids: Vec<String> = recognised_detections(&alerts).into_iter().collect();
        if ids.is_empty() {
            return Ok(alerts);
        }
        let found = self
            .collection::<TenantDoc>(Collection::Detections.name())
            .find(doc! { "_id": { "$in": ids }, "attributes.identity": REJECTED })
            .projection(doc! { "tenant": 1 })
            .hint(Hint::Keys(doc! { "_id": 1 }))
            .await?;
        let found: Vec<TenantDoc> = found.try_collect().await?;
        let rejected = found.into_iter().map(|detection| (detection.id, detection.tenant)).collect();
        remove_rejected(&mut alerts, &rejected);
        Ok(alerts)
    }

    /// The ids of documents with the subject's id in a field, at most [`BATCH`].
    async fn ids_with_subject(
        &self,
        collection: Collection,
        index: &str,
        with_subject: Document,
    ) -> Result<Vec<String>, CallError> {
        let found = self
            .collection::<IdDoc>(collection.name())
            .find(with_subject)
            .projection(doc! { "_id": 1 })
            .hint(Hint::Name(index.to_owned()))
            .limit(i64::from(BATCH))
            .await?;
        let found: Vec<IdDoc> = found.try_collect().await?;
        Ok(found.into_iter().map(|found| found.id).collect())
    }

    async fn find_recognised(&self, tenant: &TenantId, subject: SubjectId) -> Result<Recognised, CallError> {
        let with_subject = recognised_as(tenant, subject);
        let ids = self.ids_with_subject(Collection::Detections, BY_SUBJECT, with_subject).await?;
        let detections = detection_ids(&ids)?;
        let frames = frames_of(&detections);
        let with_image = frames.iter().map(|frame| results_of(tenant, *frame, doc! { "$exists": true }));
        let with_image: Vec<Document> = with_image.collect();
        let mut images = Vec::new();
        for some in with_image.chunks(FRAMES_PER_QUERY) {
            // Without a hint the planner might read all results of the tenant.
            let mut found = self
                .collection::<ImageDoc>(Collection::Results.name())
                .find(doc! { "$or": some.to_vec() })
                .projection(doc! { "image": 1 })
                .hint(Hint::Keys(doc! { "_id": 1 }))
                .await?;
            while let Some(ImageDoc { id, image }) = found.try_next().await? {
                // The id of a result begins with that of its frame.
                if let Some(frame) = id.get(..36).and_then(|frame| frame.parse::<FrameId>().ok()) {
                    add_image(&mut images, &image, tenant, frame);
                }
            }
        }
        Ok(Recognised { detections, images })
    }

    async fn forget_found(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        recognised: &Recognised,
    ) -> Result<u64, CallError> {
        let keys = recognised.images.iter().filter_map(|key| Some((key, key.frame()?)));
        let with_image = keys.map(|(key, frame)| results_of(tenant, frame, doc! { "$eq": key.to_string() }));
        let with_image: Vec<Document> = with_image.collect();
        let results = self.collection::<Document>(Collection::Results.name());
        for some in with_image.chunks(FRAMES_PER_QUERY) {
            let update = results.update_many(doc! { "$or": some.to_vec() }, doc! { "$unset": { "image": "" } });
            update.hint(Hint::Keys(doc! { "_id": 1 })).await?;
        }
        // Last: as long as a detection has the id, a repeat finds its frame.
        let ids = recognised.detections.iter().map(ToString::to_string).collect();
        self.forget_attributes(Collection::Detections, ids, recognised_as(tenant, subject)).await
    }

    /// Forgets the subject in the attributes of documents with these ids, if they have it.
    async fn forget_attributes(
        &self,
        collection: Collection,
        ids: Vec<String>,
        mut with_subject: Document,
    ) -> Result<u64, CallError> {
        with_subject.insert("_id", doc! { "$in": ids });
        let forget = doc! {
            "$unset": { "attributes.subject": "", "attributes.similarity": "" },
            "$set": { "attributes.identity": FORGOTTEN },
        };
        let documents = self.collection::<Document>(collection.name());
        Ok(documents.update_many(with_subject, forget).await?.modified_count)
    }

    async fn find_rejected(&self, tenant: &TenantId, id: &DetectionId) -> Result<Option<RejectedIdentity>, CallError> {
        let found = self
            .collection::<RejectedDoc>(Collection::Detections.name())
            .find_one(of_tenant(tenant, id, doc! { "rejected": { "$exists": true } }))
            .projection(doc! { "rejected": 1 })
            .await?;
        let Some(RejectedDoc { rejected: RejectedField { subject, similarity } }) = found else { return Ok(None) };
        let unreadable = |error: IdError| {
            StoreError::Fatal(format!("whom the stored detection {id} was taken for cannot be read: {error}"))
        };
        Ok(Some(RejectedIdentity { subject: subject.parse().map_err(unreadable)?, similarity }))
    }
}

#[async_trait]
impl RecognitionStore for MongoDocuments {
    async fn recognised(&self, tenant: &TenantId, subject: SubjectId) -> Result<Recognised, StoreError> {
        self.with_timeout(Box::pin(self.find_recognised(tenant, subject))).await
    }

    async fn forget_recognised(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        recognised: &Recognised,
    ) -> Result<u64, StoreError> {
        self.with_timeout(Box::pin(self.forget_found(tenant, subject, recognised))).await
    }

    async fn forget_in_alerts(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError> {
        let mut changed = 0;
        loop {
            let batch = async {
                let with_subject = recognised_as(tenant, subject);
                let ids = self.ids_with_subject(Collection::Alerts, BY_SUBJECT, with_subject.clone()).await?;
                let found = ids.len();
                if found == 0 {
                    return Ok((0, 0));
                }
                Ok((found, self.forget_attributes(Collection::Alerts, ids, with_subject).await?))
            };
            let (found, some) = self.with_timeout(Box::pin(batch)).await?;
            changed += some;
            if found < BATCH as usize {
                return Ok(changed);
            }
        }
    }

    async fn forget_rejected(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError> {
        let mut changed = 0;
        loop {
            let batch = async {
                let mut rejected = doc! { "tenant": tenant.as_str(), "rejected.subject": subject.to_string() };
                let ids = self.ids_with_subject(Collection::Detections, BY_REJECTED, rejected.clone()).await?;
                let found = ids.len();
                if found == 0 {
                    return Ok((0, 0));
                }
                rejected.insert("_id", doc! { "$in": ids });
                let detections = self.collection::<Document>(Collection::Detections.name());
                let update = detections.update_many(rejected, doc! { "$unset": { "rejected": "" } });
                Ok((found, update.await?.modified_count))
            };
            let (found, some) = self.with_timeout(Box::pin(batch)).await?;
            changed += some;
            if found < BATCH as usize {
                return Ok(changed);
            }
        }
    }

    async fn reject(&self, tenant: &TenantId, id: &DetectionId) -> Result<Option<RejectedIdentity>, StoreError> {
        let recognised = doc! { "attributes.identity": RECOGNISED, "attributes.subject": { "$type": "string" } };
        let recognised = of_tenant(tenant, id, recognised);
        // A pipeline, so that the fields move in one step.
        let reject = vec![
            doc! { "$set": {
                "rejected": { "subject": "$attributes.subject", "similarity": "$attributes.similarity" },
                "attributes.identity": REJECTED,
            } },
            doc! { "$unset": ["attributes.subject", "attributes.similarity"] },
        ];
        let detections = self.collection::<Document>(Collection::Detections.name());
        let call = async {
            detections.update_one(recognised, reject).await?;
            self.find_rejected(tenant, id).await
        };
        self.with_timeout(Box::pin(call)).await
    }

    async fn rejected(&self, tenant: &TenantId, id: &DetectionId) -> Result<Option<RejectedIdentity>, StoreError> {
        self.with_timeout(Box::pin(self.find_rejected(tenant, id))).await
    }

    async fn restore_rejected(&self, tenant: &TenantId, id: &DetectionId) -> Result<bool, StoreError> {
        let rejected = of_tenant(tenant, id, doc! { "rejected": { "$exists": true } });
        // A similarity that is missing stays missing.
        let restore = vec![
            doc! { "$set": {
                "attributes.identity": RECOGNISED,
                "attributes.subject": "$rejected.subject",
                "attributes.similarity": "$rejected.similarity",
            } },
            doc! { "$unset": ["rejected"] },
        ];
        let detections = self.collection::<Document>(Collection::Detections.name());
        let call = async { Ok(detections.update_one(rejected, restore).await?.modified_count == 1) };
        self.with_timeout(Box::pin(call)).await
    }
}

/// Documents of the tenant whose attributes have the subject's id.
fn recognised_as(tenant: &TenantId, subject: SubjectId) -> Document {
    doc! { "tenant": tenant.as_str(), "attributes.subject": subject.to_string() }
}

/// A detection of the tenant, with a condition.
fn of_tenant(tenant: &TenantId, id: &DetectionId, mut condition: Document) -> Document {
    condition.insert("_id", id.to_string());
    condition.insert("tenant", tenant.as_str());
    condition
}

/// The results of a frame whose image fulfils a condition.
fn results_of(tenant: &TenantId, frame: FrameId, image: Document) -> Document {
    let [from, to] = result_range(&frame);
    doc! { "_id": { "$gt": from, "$lt": to }, "tenant": tenant.as_str(), "image": image }
}
