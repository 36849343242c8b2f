//! Merging two subjects that are the same person.
//!
//! In: the subject that is merged, and the one that stays. Out: the one that stays has the vectors of both. Its own record of consent is the
//! only one from then on, and it is not changed: it must cover the faces that move, and end no later than theirs.

use contracts::api::Consent;
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
    /// The other subject has a recorded consent, and the one that stays has none, or one that ends later.
    ConsentDiffers,
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
        if let Some(of_from) = &of_from {
            if !of_from.holds(now) {
                return Ok(MergeOutcome::NoConsent(from));
            }
            if !covers(consent.as_ref(), of_from) {
                return Ok(MergeOutcome::ConsentDiffers);
            }
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
        // The subject may be the face of a user, also if no vector moves.
        transaction.changes_answers_about(tenant);
        transaction.execute("UPDATE user_faces SET subject = $2 WHERE subject = $1", values![from, into]).await?;
        let sql = "DELETE FROM face_subjects WHERE tenant = $1 AND id = $2";
        transaction.execute(sql, values![tenant, from]).await?;
        transaction.record_merged(tenant, from, into).await?;
        transaction.commit().await?;
        Ok(MergeOutcome::Merged(vectors))
    }
}

/// Whether faces with the consent `moved` may come under that of the subject that stays: it is recorded, and they do not outlive their own.
fn covers(stays: Option<&Consent>, moved: &Consent) -> bool {
    let Some(stays) = stays else { return false };
    match (stays.until, moved.until) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(end), Some(moved)) => end <= moved,
    }
}

impl crate::relational::transaction::Transaction {
    /// The galleries of a tenant, in the order in which they are locked.
    pub(super) async fn galleries_of(&mut self, tenant: &TenantId) -> Result<Vec<GalleryKey>, StoreError> {
        let sql = "SELECT model FROM face_galleries WHERE tenant = $1 ORDER BY model";
        let rows = self.rows(sql, values![tenant]).await?;
        rows.iter().map(|row| Ok(GalleryKey { tenant: tenant.clone(), model: row.get("model")? })).collect()
    }
}
