//! Subjects of detections and alerts in SQLite. Each batch is one transaction.

use std::collections::BTreeMap;

use async_trait::async_trait;
use contracts::{DetectionId, SubjectId, TenantId};
use rusqlite::{OptionalExtension, params};
use serde::Deserialize;

use super::alerts::{recognised_detections, remove_rejected};
use super::{
    BATCH, FORGOTTEN, RECOGNISED, REJECTED, Recognised, RecognitionStore, RejectedIdentity, add_image, detection_ids,
    frames_of,
};
use crate::frame_pages::result_range;
use crate::results::StoreError;
use crate::sqlite::SqliteDocuments;
use crate::stored_docs::AlertDoc;

/// The comparison with NULL is the condition of the index.
const DETECTIONS: &str = "SELECT id FROM detections INDEXED BY detections_by_subject
    WHERE tenant = ? AND attributes ->> '$.subject' = ? AND attributes ->> '$.subject' IS NOT NULL LIMIT ?";
/// `+` keeps the planner from reading all results of the tenant.
const IMAGES: &str = "SELECT doc ->> '$.image' FROM results
    WHERE id > ? AND id < ? AND +tenant = ? AND doc ->> '$.image' IS NOT NULL";
const FORGET_IMAGE: &str = "UPDATE results SET doc = json_remove(doc, '$.image')
    WHERE id > ? AND id < ? AND +tenant = ? AND doc ->> '$.image' = ?";
const FORGET_DETECTION: &str = "UPDATE detections SET
    attributes = json_set(json_remove(attributes, '$.subject', '$.similarity'), '$.identity', ?4),
    doc = json_set(json_remove(doc, '$.attributes.subject', '$.attributes.similarity'), '$.attributes.identity', ?4)
    WHERE id = ?1 AND tenant = ?2 AND attributes ->> '$.subject' = ?3";
const FORGET_ALERTS: &str = "UPDATE alerts SET
    doc = json_set(json_remove(doc, '$.attributes.subject', '$.attributes.similarity'), '$.attributes.identity', ?4)
    WHERE rowid IN (SELECT rowid FROM alerts INDEXED BY alerts_by_subject
    WHERE tenant = ?1 AND doc ->> '$.attributes.subject' = ?2 AND doc ->> '$.attributes.subject' IS NOT NULL LIMIT ?3)";
const FORGET_REJECTED: &str = "UPDATE detections SET rejected = NULL
    WHERE rowid IN (SELECT rowid FROM detections INDEXED BY detections_by_rejected
    WHERE tenant = ?1 AND rejected ->> '$.subject' = ?2 AND rejected IS NOT NULL LIMIT ?3)";
const REJECT: &str = "UPDATE detections SET
    rejected = json_object('subject', attributes ->> '$.subject', 'similarity', attributes -> '$.similarity'),
    attributes = json_set(json_remove(attributes, '$.subject', '$.similarity'), '$.identity', ?3),
    doc = json_set(json_remove(doc, '$.attributes.subject', '$.attributes.similarity'), '$.attributes.identity', ?3)
    WHERE id = ?1 AND tenant = ?2 AND attributes ->> '$.identity' = ?4 AND json_type(attributes, '$.subject') = 'text'";
const SELECT_REJECTED: &str = "SELECT rejected FROM detections WHERE id = ? AND tenant = ? AND rejected IS NOT NULL";
const TENANT_OF_REJECTED: &str = "SELECT tenant FROM detections WHERE id = ? AND attributes ->> '$.identity' = ?";
/// The names in `rejected` are those of the attributes. A merge leaves out a similarity that is null.
const RESTORE: &str = "UPDATE detections SET
    attributes = json_patch(attributes, json_set(rejected, '$.identity', ?3)),
    doc = json_patch(doc, json_object('attributes', json(json_set(rejected, '$.identity', ?3)))),
    rejected = NULL
    WHERE id = ?1 AND tenant = ?2 AND rejected IS NOT NULL";

/// The column `rejected`.
#[derive(Deserialize)]
struct RejectedColumn {
    subject: String,
    similarity: Option<f64>,
}

impl SqliteDocuments {
    /// The alerts without the subjects that were rejected.
    pub(crate) async fn without_rejected(
        &self,
        mut alerts: Vec<AlertDoc<'static>>,
    ) -> Result<Vec<AlertDoc<'static>>, StoreError> {
        let ids = recognised_detections(&alerts);
        if ids.is_empty() {
            return Ok(alerts);
        }
        let rejected = self.read(move |connection| {
            let mut statement = connection.prepare_cached(TENANT_OF_REJECTED)?;
            let mut rejected = BTreeMap::new();
            for id in ids {
                let tenant: Option<String> = statement.query_row(params![id, REJECTED], |row| row.get(0)).optional()?;
                rejected.extend(tenant.map(|tenant| (id, tenant)));
            }
            Ok(rejected)
        });
        remove_rejected(&mut alerts, &rejected.await?);
        Ok(alerts)
    }

    /// Repeats a statement about a tenant's subject until it changes less than [`BATCH`] rows. Other writes run in between.
    async fn forget_in_batches(
        &self,
        sql: &'static str,
        tenant: &TenantId,
        subject: SubjectId,
        with_word: bool,
    ) -> Result<u64, StoreError> {
        let mut changed = 0;
        loop {
            let (tenant, subject) = (tenant.to_string(), subject.to_string());
            let some = self.write(move |connection| {
                let mut statement = connection.prepare_cached(sql)?;
                Ok(if with_word {
                    statement.execute(params![tenant, subject, BATCH, FORGOTTEN])?
                } else {
                    statement.execute(params![tenant, subject, BATCH])?
                })
            });
            let some = some.await?;
            changed += some as u64;
            if some < BATCH as usize {
                return Ok(changed);
            }
        }
    }
}

#[async_trait]
impl RecognitionStore for SqliteDocuments {
    async fn recognised(&self, tenant: &TenantId, subject: SubjectId) -> Result<Recognised, StoreError> {
        let (tenant, subject) = (tenant.clone(), subject.to_string());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(DETECTIONS)?;
            let ids = statement.query_map(params![tenant.as_str(), subject, BATCH], |row| row.get(0))?;
            let ids = ids.collect::<Result<Vec<String>, rusqlite::Error>>()?;
            let detections = detection_ids(&ids)?;
            let mut images = Vec::new();
            let mut statement = connection.prepare_cached(IMAGES)?;
            for frame in frames_of(&detections) {
                let [from, to] = result_range(&frame);
                let keys = statement.query_map(params![from, to, tenant.as_str()], |row| row.get::<_, String>(0))?;
                for key in keys {
                    add_image(&mut images, &key?, &tenant, frame);
                }
            }
            Ok(Recognised { detections, images })
        })
        .await
    }

    async fn forget_recognised(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        recognised: &Recognised,
    ) -> Result<u64, StoreError> {
        let (tenant, subject, recognised) = (tenant.to_string(), subject.to_string(), recognised.clone());
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(FORGET_IMAGE)?;
            for key in &recognised.images {
                let Some(frame) = key.frame() else { continue };
                let [from, to] = result_range(&frame);
                statement.execute(params![from, to, tenant, key.to_string()])?;
            }
            let mut statement = connection.prepare_cached(FORGET_DETECTION)?;
            let mut changed = 0;
            for id in &recognised.detections {
                changed += statement.execute(params![id.to_string(), tenant, subject, FORGOTTEN])? as u64;
            }
            Ok(changed)
        })
        .await
    }

    async fn forget_in_alerts(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError> {
        self.forget_in_batches(FORGET_ALERTS, tenant, subject, true).await
    }

    async fn forget_rejected(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError> {
        self.forget_in_batches(FORGET_REJECTED, tenant, subject, false).await
    }

    async fn reject(&self, tenant: &TenantId, id: &DetectionId) -> Result<Option<RejectedIdentity>, StoreError> {
        let row = (id.to_string(), tenant.to_string());
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(REJECT)?;
            Ok(statement.execute(params![row.0, row.1, REJECTED, RECOGNISED])?)
        })
        .await?;
        self.rejected(tenant, id).await
    }

    async fn rejected(&self, tenant: &TenantId, id: &DetectionId) -> Result<Option<RejectedIdentity>, StoreError> {
        let row = (id.to_string(), tenant.to_string());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(SELECT_REJECTED)?;
            let column: Option<String> = statement.query_row(params![row.0, row.1], |row| row.get(0)).optional()?;
            Ok(column.map(|column| rejected_identity(&column)).transpose()?)
        })
        .await
    }

    async fn restore_rejected(&self, tenant: &TenantId, id: &DetectionId) -> Result<bool, StoreError> {
        let row = (id.to_string(), tenant.to_string());
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(RESTORE)?;
            Ok(statement.execute(params![row.0, row.1, RECOGNISED])? == 1)
        })
        .await
    }
}

fn rejected_identity(column: &str) -> Result<RejectedIdentity, StoreError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        StoreError::Fatal(format!("whom a stored detection was taken for cannot be read: {error}"))
    };
    let RejectedColumn { subject, similarity } = serde_json::from_str(column).map_err(|error| unreadable(&error))?;
    Ok(RejectedIdentity { subject: subject.parse().map_err(|error| unreadable(&error))?, similarity })
}
