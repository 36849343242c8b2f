//! Writes results with their detections and alerts.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::CallError;
use crate::stored_docs::{AlertDoc, DetectionDoc, ResultDoc, check};
use crate::{Indexed, PutOutcome, StoreError};

/// The stored result wins, except a failure: a later success of the same tenant replaces it.
const INSERT_RESULT: &str = "INSERT INTO results (id, tenant, stream, at, expires_at, ce_id, doc)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
    SET stream = excluded.stream, at = excluded.at, expires_at = excluded.expires_at, ce_id = excluded.ce_id, doc = excluded.doc
    WHERE results.tenant = excluded.tenant
    AND results.doc ->> '$.failure' IS NOT NULL AND excluded.doc ->> '$.failure' IS NULL";
const STORED_CE_ID: &str = "SELECT ce_id FROM results WHERE id = ?";
const INSERT_DETECTION: &str = "INSERT INTO detections
    (id, tenant, stream, at, expires_at, label, confidence, category, category_folded, make, model, attributes, doc)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";
const INSERT_ALERT: &str = "INSERT INTO alerts (id, tenant, stream, at, expires_at, label, rule, doc)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";

/// Writes a batch in the caller's transaction.
pub(super) fn put(connection: &Connection, batch: &[Indexed]) -> Result<Vec<PutOutcome>, CallError> {
    check(batch)?;
    batch.iter().map(|indexed| put_one(connection, indexed)).collect()
}

fn put_one(connection: &Connection, indexed: &Indexed) -> Result<PutOutcome, CallError> {
    let result = ResultDoc::of(indexed);
    if put_result(connection, &result)? == PutOutcome::Superseded {
        return Ok(PutOutcome::Superseded);
    }
    for doc in DetectionDoc::of(indexed) {
        put_detection(connection, &doc)?;
    }
    for doc in AlertDoc::of(indexed) {
        put_alert(connection, &doc)?;
    }
    Ok(PutOutcome::Stored)
}

fn put_result(connection: &Connection, doc: &ResultDoc<'_>) -> Result<PutOutcome, CallError> {
    let expires_at = doc.expires_at.as_microsecond();
    let row = params![doc.id, doc.tenant, doc.stream, doc.at, expires_at, doc.ce_id, json(doc)?];
    let written = connection.prepare_cached(INSERT_RESULT).and_then(|mut insert| insert.execute(row))?;
    if written == 1 {
        return Ok(PutOutcome::Stored);
    }
    let stored: Option<String> = connection
        .prepare_cached(STORED_CE_ID)
        .and_then(|mut select| select.query_row([&doc.id], |row| row.get(0)).optional())?;
    Ok(if stored.as_ref() == Some(&doc.ce_id) { PutOutcome::Stored } else { PutOutcome::Superseded })
}

fn put_detection(connection: &Connection, doc: &DetectionDoc<'_>) -> Result<(), CallError> {
    let row = params![
        doc.id,
        doc.tenant,
        doc.stream,
        doc.at,
        doc.expires_at.as_microsecond(),
        doc.label,
        doc.confidence,
        doc.category,
        doc.category_folded,
        doc.make,
        doc.model,
        doc.attributes.as_ref().map(json).transpose()?,
        json(doc)?
    ];
    connection.prepare_cached(INSERT_DETECTION).and_then(|mut insert| insert.execute(row))?;
    Ok(())
}

fn put_alert(connection: &Connection, doc: &AlertDoc<'_>) -> Result<(), CallError> {
    let expires_at = doc.expires_at.as_microsecond();
    let row = params![doc.id, doc.tenant, doc.stream, doc.at, expires_at, doc.label, doc.rule, json(doc)?];
    connection.prepare_cached(INSERT_ALERT).and_then(|mut insert| insert.execute(row))?;
    Ok(())
}

/// A document as JSON, for the column `doc`.
pub(crate) fn json(doc: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(doc).map_err(|error| StoreError::Fatal(format!("a document cannot be written: {error}")))
}
