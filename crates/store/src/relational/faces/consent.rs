//! Consent of subjects: whose faces may be compared, and the end of vectors when a consent ends.
//!
//! A subject whose consent ended has no vectors: its faces leave the gallery with the gallery's version, so no search that begins later
//! finds them, on any instance. A subject without a recorded consent gets vectors only where consent is not required.

use contracts::api::Consent;
use contracts::{SubjectId, TenantId};
use jiff::Timestamp;

use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// The consent in the columns of a subject.
pub(super) fn consent(row: &Row) -> Result<Option<Consent>, StoreError> {
    let Some(given_at) = row.get::<Option<Timestamp>>("consent_given_at")? else { return Ok(None) };
    Ok(Some(Consent { given_at, until: row.get("consent_until")?, reference: row.get("consent_reference")? }))
}

/// A subject with its tenant.
fn owned(row: &Row) -> Result<(TenantId, SubjectId), StoreError> {
    Ok((row.tenant()?, SubjectId::from_uuid(row.get("id")?)))
}

/// The condition that the subject `s` has vectors and no recorded consent.
macro_rules! without_consent {
    () => {
        // SQLite keeps the order of a cross join, and so finds the vectors of a subject by their index.
        "s.consent_given_at IS NULL AND EXISTS \
         (SELECT 1 FROM face_galleries g CROSS JOIN face_vectors v WHERE g.tenant = s.tenant \
          AND v.tenant = g.tenant AND v.model = g.model AND v.subject = s.id)"
    };
}

impl Relational {
    /// Whether the faces of a subject with this consent may be enrolled and compared.
    pub fn may_compare(&self, consent: Option<&Consent>, now: Timestamp) -> bool {
        consent.map_or(!self.consent_required, |consent| consent.holds(now))
    }

    /// Subjects whose consent ended by `now` and of whom something may be left to be erased, at most `limit`.
    pub async fn ended_consents(&self, now: Timestamp, limit: u32) -> Result<Vec<(TenantId, SubjectId)>, StoreError> {
        let sql = "SELECT tenant, id FROM face_subjects WHERE consent_ends_at <= $1 ORDER BY consent_ends_at LIMIT $2";
        let rows = self.rows(sql, values![now, i64::from(limit)]).await?;
        rows.iter().map(owned).collect()
    }

    /// Whether the consent of a subject ended by `now` and something of it may be left to be erased.
    pub async fn is_consent_to_end(
        &self,
        tenant: &TenantId,
        id: SubjectId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT id FROM face_subjects WHERE tenant = $1 AND id = $2 AND consent_ends_at <= $3";
        Ok(self.row(sql, values![tenant, id, now]).await?.is_some())
    }

    /// Erases the vectors of a subject whose consent ended by `now`. Returns their number; 0 if the consent was renewed meanwhile. The subject
    /// stays among [`Self::ended_consents`] until [`Self::finish_consent`], so that what is left elsewhere is deleted too.
    pub async fn end_consent(&self, tenant: &TenantId, id: SubjectId, now: Timestamp) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        // Locks the subject, so that the consent is not renewed meanwhile.
        let sql =
            "UPDATE face_subjects SET updated_at = updated_at WHERE tenant = $1 AND id = $2 AND consent_ends_at <= $3";
        if transaction.execute(sql, values![tenant, id, now]).await? == 0 {
            return Ok(0);
        }
        let erased = transaction.erase_vectors(tenant, id, now).await?;
        transaction.commit().await?;
        self.empty_journal().await;
        Ok(erased.enrolled + erased.negatives)
    }

    /// Records that nothing is left to be erased of a subject whose consent ended by `now`.
    pub async fn finish_consent(&self, tenant: &TenantId, id: SubjectId, now: Timestamp) -> Result<(), StoreError> {
        let sql =
            "UPDATE face_subjects SET consent_ends_at = NULL WHERE tenant = $1 AND id = $2 AND consent_ends_at <= $3";
        self.execute(sql, values![tenant, id, now]).await.map(drop)
    }

    /// Subjects that have vectors and no recorded consent, at most `limit`, by tenant. It may read all subjects.
    pub async fn enrolled_without_consent(&self, limit: u32) -> Result<Vec<(TenantId, SubjectId)>, StoreError> {
        let sql = concat!(
            "SELECT s.tenant, s.id FROM face_subjects s WHERE ",
            without_consent!(),
            " ORDER BY s.tenant, s.id LIMIT $1"
        );
        self.rows(sql, values![i64::from(limit)]).await?.iter().map(owned).collect()
    }

    /// The numbers of subjects that have vectors and no recorded consent, and of their tenants. It reads all subjects.
    pub async fn count_without_consent(&self) -> Result<(u64, u64), StoreError> {
        let sql = concat!(
            "SELECT count(*) AS subjects, count(DISTINCT s.tenant) AS tenants FROM face_subjects s WHERE ",
            without_consent!()
        );
        let Some(row) = self.row(sql, values![]).await? else { return Ok((0, 0)) };
        let (subjects, tenants): (i64, i64) = (row.get("subjects")?, row.get("tenants")?);
        Ok((subjects.unsigned_abs(), tenants.unsigned_abs()))
    }
}

impl Transaction {
    /// The consent of a subject.
    pub(super) async fn consent(&mut self, tenant: &TenantId, id: SubjectId) -> Result<Option<Consent>, StoreError> {
        let sql = "SELECT consent_given_at, consent_until, consent_reference FROM face_subjects \
                   WHERE tenant = $1 AND id = $2";
        self.row(sql, values![tenant, id]).await?.as_ref().map_or(Ok(None), consent)
    }
}
