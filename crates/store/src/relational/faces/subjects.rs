//! Subjects: adding, finding, listing, changing.

use std::collections::{BTreeMap, BTreeSet};

use contracts::api::Consent;
use contracts::{SubjectId, TenantId, UserId};
use jiff::Timestamp;

use super::subject_records::{
    MAX_SUBJECTS_PAGE, NewSubject, SubjectChange, SubjectRecord, SubjectWriteOutcome, metadata_text, subject_columns,
    too_long,
};
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Value, cursor_position, values};
use crate::{PageCursor, StoreError};

/// Reads a subject.
const SUBJECT: &str = concat!("SELECT ", subject_columns!(), " FROM face_subjects WHERE tenant = $1 AND id = $2");

/// Changes a subject. If its consent did not change, what is left to be done for one that ended stays so.
const UPDATE: &str = "UPDATE face_subjects SET external_id = $3, name = $4, metadata = $5, consent_given_at = $6, \
                      consent_until = $7, consent_reference = $8, \
                      consent_ends_at = CASE WHEN $9 THEN $7 ELSE consent_ends_at END WHERE tenant = $1 AND id = $2";

/// Reads subjects by [`Relational::rows_by_ids`].
const SUBJECTS_BY_ID: &str = concat!(
    "SELECT ",
    subject_columns!(),
    " FROM face_subjects WHERE tenant = $1",
    " AND id IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
);

impl Relational {
    /// Adds a subject for a user, if there is one, unless that user is disabled or deleted: a name must not be stored after the user's
    /// data were erased; and unless the tenant has as many subjects as [`Self::with_subject_limit`] allows.
    pub async fn add_subject(
        &self,
        tenant: &TenantId,
        user: Option<UserId>,
        new: &NewSubject,
        now: Timestamp,
    ) -> Result<SubjectWriteOutcome, StoreError> {
        let NewSubject { id, external_id, name, metadata, consent } = new;
        let metadata = metadata_text(metadata);
        if let Some(refused) = too_long(external_id.as_deref(), name.as_deref(), Some(&metadata)) {
            return Ok(refused);
        }
        let mut transaction = self.begin().await?;
        if let Some(user) = user
            && !transaction.lock_active_user(user).await?
        {
            return Ok(SubjectWriteOutcome::NoUser);
        }
        if !transaction.count_new_subject(tenant, self.subject_limit).await? {
            drop(transaction);
            // A repeat finds its subject, also at the limit.
            let known = match external_id {
                Some(external_id) => self.subject_by_external_id(tenant, external_id).await?,
                None => None,
            };
            let full = SubjectWriteOutcome::TooManySubjects(self.subject_limit);
            return Ok(known.map_or(full, |_| SubjectWriteOutcome::ExternalIdTaken));
        }
        let sql = "INSERT INTO face_subjects (tenant, id, external_id, name, metadata, created_at, updated_at, \
                   consent_given_at, consent_until, consent_reference, consent_ends_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9, $8) ON CONFLICT DO NOTHING";
        let mut row = values![tenant, *id, external_id, name, metadata, now];
        row.extend(consent_values(consent.as_ref()));
        if transaction.execute(sql, row).await? == 1 {
            transaction.commit().await?;
            return Ok(SubjectWriteOutcome::Stored);
        }
        drop(transaction);
        let has_id = self.subject(tenant, *id).await?.is_some();
        Ok(if has_id { SubjectWriteOutcome::IdTaken } else { SubjectWriteOutcome::ExternalIdTaken })
    }

    /// A subject of the tenant.
    pub async fn subject(&self, tenant: &TenantId, id: SubjectId) -> Result<Option<SubjectRecord>, StoreError> {
        self.row(SUBJECT, values![tenant, id]).await?.as_ref().map(SubjectRecord::read).transpose()
    }

    /// The subjects of the tenant with these ids, at most [`MAX_SUBJECTS_PAGE`] of them; unknown ids are left out.
    pub async fn subjects_by_id(
        &self,
        tenant: &TenantId,
        ids: &[SubjectId],
    ) -> Result<BTreeMap<SubjectId, SubjectRecord>, StoreError> {
        let ids = &ids[..ids.len().min(MAX_SUBJECTS_PAGE as usize)];
        let rows = self.rows_by_ids(SUBJECTS_BY_ID, values![tenant], ids).await?;
        let records = rows.iter().map(SubjectRecord::read);
        records.map(|record| record.map(|record| (record.id, record))).collect()
    }

    /// As [`Self::subjects_by_id`], and for the id of a subject that was merged the one that stays: documents keep the id that they have.
    pub async fn people_by_id(
        &self,
        tenant: &TenantId,
        ids: &[SubjectId],
    ) -> Result<BTreeMap<SubjectId, SubjectRecord>, StoreError> {
        let mut found = self.subjects_by_id(tenant, ids).await?;
        let others: Vec<SubjectId> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
        let merged = self.merged_into(tenant, &others).await?;
        let staying: BTreeSet<SubjectId> = merged.values().copied().collect();
        let staying = self.subjects_by_id(tenant, &staying.into_iter().collect::<Vec<_>>()).await?;
        found.extend(merged.iter().filter_map(|(id, into)| Some((*id, staying.get(into)?.clone()))));
        Ok(found)
    }

    /// The subject of the tenant with this external id.
    pub async fn subject_by_external_id(
        &self,
        tenant: &TenantId,
        external_id: &str,
    ) -> Result<Option<SubjectRecord>, StoreError> {
        let sql = concat!("SELECT ", subject_columns!(), " FROM face_subjects WHERE tenant = $1 AND external_id = $2");
        self.row(sql, values![tenant, external_id]).await?.as_ref().map(SubjectRecord::read).transpose()
    }

    /// Subjects of the tenant, newest first, after a cursor; at most [`MAX_SUBJECTS_PAGE`].
    pub async fn subjects(
        &self,
        tenant: &TenantId,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<SubjectRecord>, StoreError> {
        let ((at, id), limit) = (cursor_position(after), i64::from(limit.min(MAX_SUBJECTS_PAGE)));
        let sql = concat!(
            "SELECT ",
            subject_columns!(),
            " FROM face_subjects WHERE tenant = $1 AND (created_at, id) < ($2, $3)",
            " ORDER BY created_at DESC, id DESC LIMIT $4"
        );
        self.rows(sql, values![tenant, at, id, limit]).await?.iter().map(SubjectRecord::read).collect()
    }

    /// Changes external id, name, metadata and consent of a subject. When the consent is withdrawn, all vectors of the subject are erased.
    pub async fn change_subject(
        &self,
        tenant: &TenantId,
        id: SubjectId,
        change: &SubjectChange,
        now: Timestamp,
    ) -> Result<SubjectWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        if !transaction.touch_subject(tenant, id, now).await? {
            return Ok(SubjectWriteOutcome::Unknown);
        }
        let Some(row) = transaction.row(SUBJECT, values![tenant, id]).await? else {
            return Ok(SubjectWriteOutcome::Unknown);
        };
        let changed = with_change(SubjectRecord::read(&row)?, change, now);
        let SubjectRecord { external_id, name, metadata, consent, .. } = &changed;
        let metadata = metadata_text(metadata);
        if let Some(refused) = too_long(external_id.as_deref(), name.as_deref(), Some(&metadata)) {
            return Ok(refused);
        }
        let has_consent_changed = change.consent.is_some();
        let mut row = values![tenant, id, external_id, name, metadata];
        row.extend(consent_values(consent.as_ref()));
        row.push(has_consent_changed.into());
        let written = transaction.execute(UPDATE, row).await;
        if let Err(error) = written {
            drop(transaction);
            // Only a unique constraint can refuse it: the external id of another subject.
            let external_id = external_id.as_deref().unwrap_or_default();
            let other = self.subject_by_external_id(tenant, external_id).await?.filter(|other| other.id != id);
            return other.map(|_| SubjectWriteOutcome::ExternalIdTaken).ok_or(error);
        }
        if has_consent_changed && consent.as_ref().is_none_or(|consent| !consent.holds(now)) {
            transaction.erase_vectors(tenant, id, now).await?;
        }
        transaction.commit().await?;
        Ok(SubjectWriteOutcome::Stored)
    }
}

/// A subject as it is after a change.
fn with_change(known: SubjectRecord, change: &SubjectChange, now: Timestamp) -> SubjectRecord {
    let SubjectChange { external_id, name, metadata, consent } = change.clone();
    SubjectRecord {
        external_id: external_id.unwrap_or(known.external_id),
        name: name.unwrap_or(known.name),
        metadata: metadata.unwrap_or(known.metadata),
        consent: match consent {
            Some(None) => Some(withdrawn(known.consent, now)),
            Some(given) => given,
            None => known.consent,
        },
        ..known
    }
}

/// A consent that is withdrawn: it ends now. It stays on record, so that no face is stored that was on its way.
fn withdrawn(known: Option<Consent>, now: Timestamp) -> Consent {
    match known {
        Some(ended) if !ended.holds(now) => ended,
        Some(consent) => Consent { until: Some(now), ..consent },
        None => Consent { given_at: now, until: Some(now), reference: None },
    }
}

/// The columns of a consent: given at, until, reference.
fn consent_values(consent: Option<&Consent>) -> Vec<Value> {
    let reference = consent.and_then(|consent| consent.reference.as_deref());
    values![consent.map(|consent| consent.given_at), consent.and_then(|consent| consent.until), reference]
}

impl Transaction {
    /// Locks a user until this transaction ends, so that it is not disabled meanwhile. `false` if it is disabled or deleted.
    pub(in crate::relational) async fn lock_active_user(&mut self, user: UserId) -> Result<bool, StoreError> {
        let sql = "UPDATE users SET last_sign_in_at = last_sign_in_at WHERE id = $1 AND disabled = $2";
        Ok(self.execute(sql, values![user, false]).await? == 1)
    }

    /// Locks a subject until this transaction ends, and records its change. `false` if the tenant has none with the id.
    pub(super) async fn touch_subject(
        &mut self,
        tenant: &TenantId,
        id: SubjectId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE face_subjects SET updated_at = $3 WHERE tenant = $1 AND id = $2";
        Ok(self.execute(sql, values![tenant, id, now]).await? == 1)
    }
}
