//! Twins: enrolled faces of one subject that were made of the same image, as after a merge of two subjects that both had it.
//!
//! In: a subject. Out: which of its faces are twins of one that stays, and their removal. The id of a face has in it the subject to which its
//! image was sent, so the ids of twins differ. The embedding of an image is always the same, so their vectors do not. The face that stays has a
//! vector of every model for which its twin has one: no model compares less of the subject than before.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use contracts::{SubjectId, TenantId, VectorId};
use gallery::VectorKind;
use jiff::Timestamp;

use super::gallery_change::kind_name;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::values;

/// An enrolled face with its vectors.
#[derive(Debug, Default)]
struct Face {
    /// By model.
    vectors: BTreeMap<String, Vec<u8>>,
    /// Whether its image is kept.
    is_kept: bool,
}

impl Face {
    /// Whether it is the other one again, and may be removed.
    fn is_twin_of(&self, other: &Self) -> bool {
        self.vectors.iter().any(|(model, vector)| other.vectors.get(model) == Some(vector))
            && self.vectors.keys().all(|model| other.vectors.contains_key(model))
    }
}

impl Relational {
    /// Removes the twins among the enrolled faces of a subject, their vectors of all models. Returns their ids.
    pub async fn remove_twins(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        now: Timestamp,
    ) -> Result<Vec<VectorId>, StoreError> {
        let mut transaction = self.begin().await?;
        // Nobody else removes the face that stays.
        if !transaction.touch_subject(tenant, subject, now).await? {
            return Ok(Vec::new());
        }
        let twins = transaction.twins_of(tenant, subject).await?;
        if transaction.remove_faces(tenant, subject, VectorKind::Enrolled, &twins, now).await?.is_some() {
            transaction.commit().await?;
            self.empty_journal().await;
        }
        Ok(twins)
    }
}

impl Transaction {
    async fn twins_of(&mut self, tenant: &TenantId, subject: SubjectId) -> Result<Vec<VectorId>, StoreError> {
        let mut faces: BTreeMap<VectorId, Face> = BTreeMap::new();
        for key in self.galleries_of(tenant).await? {
            let sql = "SELECT id, source, vector FROM face_vectors \
                       WHERE tenant = $1 AND model = $2 AND subject = $3 AND kind = $4 ORDER BY id";
            let enrolled = kind_name(VectorKind::Enrolled);
            for row in self.rows(sql, values![tenant, &key.model, subject, enrolled]).await? {
                let face = faces.entry(VectorId::from_uuid(row.get("id")?)).or_default();
                face.is_kept |= row.get::<Option<String>>("source")?.is_some();
                face.vectors.insert(key.model.clone(), row.get("vector")?);
            }
        }
        // Of two, the one stays that has more vectors, or else a kept image.
        let mut faces: Vec<(VectorId, Face)> = faces.into_iter().collect();
        faces.sort_by_key(|(id, face)| (Reverse(face.vectors.len()), !face.is_kept, *id));
        let (mut stays, mut twins): (Vec<Face>, Vec<VectorId>) = (Vec::new(), Vec::new());
        for (id, face) in faces {
            if stays.iter().any(|other| face.is_twin_of(other)) {
                twins.push(id);
            } else {
                stays.push(face);
            }
        }
        twins.sort();
        Ok(twins)
    }
}
