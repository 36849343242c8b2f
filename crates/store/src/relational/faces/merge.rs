//! Merging two subjects that are the same person.

use contracts::{SubjectId, TenantId};
use gallery::GalleryKey;
use jiff::Timestamp;

use super::gallery_change::GalleryChange;
use super::vectors::MAX_VECTORS_OF_SUBJECT;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::values;

/// The outcome of merging subjects. Nothing was changed, if it is not `Merged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeOutcome {
    /// The other subject is gone, and so many vectors and negatives moved.
    Merged(u64),
    /// The tenant has no subject with this id.
    Unknown(SubjectId),
    /// Both are the same.
    Itself,
    /// The subject would have more than [`MAX_VECTORS_OF_SUBJECT`] for a model.
    TooMany,
    /// The consent of the other subject has ended, or there are vectors to move and the one that stays has no valid consent.
    NoConsent(SubjectId),
}

impl Relational {
    /// Gives the vectors of `from`, of all models, to `into`, and deletes `from` with its name, external id and metadata. Its id stays as that
    /// of a former subject: documents have it, and it is the same person ([`Relational::merged_subjects`]).
    pub async fn merge_subjects(
        &self,
        tenant: &TenantId,
        from: SubjectId,
        into: SubjectId,
        now: Timestamp,
    ) -> Result<MergeOutcome, StoreError> {
        if from == into {
            return Ok(MergeOutcome::Itself);
        }
        let mut transaction = self.begin().await?;
        for subject in [from.min(into), from.max(into)] {
            if !transaction.touch_subject(tenant, subject, now).await? {
                return Ok(MergeOutcome::Unknown(subject));
            }
        }
        let (consent, of_from) = (transaction.consent(tenant, into).await?, transaction.consent(tenant, from).await?);
        if of_from.as_ref().is_some_and(|consent| !consent.holds(now)) {
            return Ok(MergeOutcome::NoConsent(from));
        }
        let mut vectors = 0;
        for key in transaction.galleries_of(tenant).await? {
            // Nobody adds vectors to a locked subject.
            if transaction.count_vectors(&key, from).await?.all() == 0 {
                continue;
            }
            if !self.may_compare(consent.as_ref(), now) {
                return Ok(MergeOutcome::NoConsent(into));
            }
            let Some(locked) = transaction.lock_gallery(&key).await? else { continue };
            let mut change = GalleryChange::new(&mut transaction, &key, locked, now);
            vectors += change.move_subject(from, into).await?.all().unsigned_abs();
            if change.above(i64::from(MAX_VECTORS_OF_SUBJECT)).is_some() {
                return Ok(MergeOutcome::TooMany);
            }
            change.finish().await?;
        }
        if let Some(until) = of_from.and_then(|consent| consent.until).filter(|_| vectors > 0) {
            transaction.end_earlier(tenant, into, until, now).await?;
        }
        // It may be that of a user, also if no vector moves.
        transaction.changes_answers_about(tenant);
        transaction.execute("UPDATE user_faces SET subject = $2 WHERE subject = $1", values![from, into]).await?;
        let sql = "DELETE FROM face_subjects WHERE tenant = $1 AND id = $2";
        transaction.execute(sql, values![tenant, from]).await?;
        transaction.record_merged(tenant, from, into).await?;
        transaction.commit().await?;
        Ok(MergeOutcome::Merged(vectors))
    }
}

impl crate::relational::database::Transaction {
    /// The galleries of a tenant, in the order in which they are locked.
    pub(super) async fn galleries_of(&mut self, tenant: &TenantId) -> Result<Vec<GalleryKey>, StoreError> {
        let sql = "SELECT model FROM face_galleries WHERE tenant = $1 ORDER BY model";
        let rows = self.rows(sql, values![tenant]).await?;
        rows.iter().map(|row| Ok(GalleryKey { tenant: tenant.clone(), model: row.get("model")? })).collect()
    }
}
