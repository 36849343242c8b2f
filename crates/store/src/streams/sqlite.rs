//! Streams in SQLite. There is one writer, so no other write runs between the statements of one.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use contracts::{FrameId, StreamName, TenantId};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::de::DeserializeOwned;

use super::stored_docs::{ActivityDoc, ReportDoc, settings, unreadable};
use super::{
    PutStreamOutcome, SentFrames, SettingsOfStream, StoredReport, StoredStream, StreamActivity, StreamSettings,
    StreamStore, expiry, expiry_of_silent,
};
use crate::frame_pages::result_range;
use crate::results::StoreError;
use crate::sqlite::{CallError, SqliteDocuments, json};

const COLUMNS: &str = "SELECT name, detectors, retention_days, report, activity FROM streams WHERE tenant = ?";
/// A row past its expiry may still be there.
const NOT_EXPIRED: &str = "(expires_at IS NULL OR expires_at > ?)";

#[async_trait]
impl StreamStore for SqliteDocuments {
    async fn stream_settings(&self) -> Result<Vec<SettingsOfStream>, StoreError> {
        self.read(|connection| {
            // One partial index for each part. Without them, every stream would be read each second.
            let mut statement = connection.prepare_cached(
                "SELECT tenant, name, detectors, retention_days FROM streams INDEXED BY streams_by_detectors
                 WHERE detectors IS NOT NULL
                 UNION ALL
                 SELECT tenant, name, detectors, retention_days FROM streams INDEXED BY streams_by_retention
                 WHERE retention_days IS NOT NULL AND detectors IS NULL",
            )?;
            let read = |row: &Row<'_>| {
                let (tenant, stream) = (parsed(row, "tenant")?, parsed(row, "name")?);
                Ok(SettingsOfStream { tenant, stream, settings: settings_of(row)? })
            };
            statement.query_and_then([], read)?.collect()
        })
        .await
    }

    async fn streams(
        &self,
        tenant: &TenantId,
        after: Option<&StreamName>,
        limit: u32,
    ) -> Result<Vec<StoredStream>, StoreError> {
        let (tenant, after) = (tenant.to_string(), after.map_or_else(String::new, ToString::to_string));
        self.read(move |connection| {
            let sql = format!("{COLUMNS} AND name > ? AND {NOT_EXPIRED} ORDER BY name LIMIT ?");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_and_then(params![tenant, after, now(), limit], stored)?.collect()
        })
        .await
    }

    async fn stream(&self, tenant: &TenantId, name: &StreamName) -> Result<Option<StoredStream>, StoreError> {
        let key = Key::of(tenant, name);
        self.read(move |connection| {
            let sql = format!("{COLUMNS} AND name = ? AND {NOT_EXPIRED}");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_and_then(params![key.tenant, key.name, now()], stored)?.next().transpose()
        })
        .await
    }

    async fn put_stream(
        &self,
        tenant: &TenantId,
        name: &StreamName,
        settings: &StreamSettings,
        most: usize,
    ) -> Result<PutStreamOutcome, StoreError> {
        let key = Key::of(tenant, name);
        let detectors = settings.detectors.as_ref().map(json).transpose()?;
        let retention_days = settings.retention.map(u16::from);
        self.write(move |connection| {
            if !key.make_room(connection, most, Timestamp::MAX)? {
                return Ok(PutStreamOutcome::Full);
            }
            let mut put = connection.prepare_cached(
                "INSERT INTO streams (tenant, name, detectors, retention_days) VALUES (?, ?, ?, ?)
                 ON CONFLICT (tenant, name) DO UPDATE SET
                 detectors = excluded.detectors, retention_days = excluded.retention_days, expires_at = NULL",
            )?;
            put.execute(params![key.tenant, key.name, detectors, retention_days])?;
            Ok(PutStreamOutcome::Stored)
        })
        .await
    }

    async fn put_report(
        &self,
        tenant: &TenantId,
        name: &StreamName,
        report: &StoredReport,
        most: usize,
    ) -> Result<PutStreamOutcome, StoreError> {
        let (key, expires_at) = (Key::of(tenant, name), expiry(report.at).as_microsecond());
        let report = json(&ReportDoc::of(report))?;
        self.write(move |connection| {
            if !key.make_room(connection, most, expiry_of_silent())? {
                return Ok(PutStreamOutcome::Full);
            }
            key.put(connection, "report", &report, expires_at)?;
            Ok(PutStreamOutcome::Stored)
        })
        .await
    }

    async fn record_frames(&self, sent: &[SentFrames], most: usize) -> Result<(), StoreError> {
        let sent = sent.to_vec();
        self.write(move |connection| {
            let mut rooms = HashMap::new();
            for sent in &sent {
                record(connection, sent, most, &mut rooms)?;
            }
            Ok(())
        })
        .await
    }

    async fn delete_stream(&self, tenant: &TenantId, name: &StreamName) -> Result<bool, StoreError> {
        let key = Key::of(tenant, name);
        self.write(move |connection| {
            key.delete_expired(connection)?;
            let mut delete = connection.prepare_cached("DELETE FROM streams WHERE tenant = ? AND name = ?")?;
            Ok(delete.execute([&key.tenant, &key.name])? == 1)
        })
        .await
    }

    async fn frames_with_results(&self, frames: &[FrameId]) -> Result<HashSet<FrameId>, StoreError> {
        let frames = frames.to_vec();
        self.read(move |connection| {
            let mut exists =
                connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM results WHERE id > ? AND id < ?)")?;
            let mut found = HashSet::new();
            for frame in frames {
                if exists.query_row(result_range(&frame), |row| row.get(0))? {
                    found.insert(frame);
                }
            }
            Ok(found)
        })
        .await
    }
}

/// The key of a stream.
struct Key {
    tenant: String,
    name: String,
}

impl Key {
    fn of(tenant: &TenantId, name: &StreamName) -> Self {
        Self { tenant: tenant.to_string(), name: name.to_string() }
    }

    fn delete_expired(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let sql = "DELETE FROM streams WHERE tenant = ? AND name = ? AND expires_at <= ?";
        connection.prepare_cached(sql)?.execute(params![self.tenant, self.name, now()])
    }

    /// Whether the stream is there, or there is room for it, if necessary in the place of another one without settings that expires by
    /// this time.
    fn make_room(&self, connection: &Connection, most: usize, by: Timestamp) -> rusqlite::Result<bool> {
        self.delete_expired(connection)?;
        if self.exists(connection)? || count(connection, &self.tenant)? < most {
            return Ok(true);
        }
        let mut evict = connection.prepare_cached(
            "DELETE FROM streams WHERE rowid =
             (SELECT rowid FROM streams WHERE tenant = ? AND expires_at <= ? ORDER BY expires_at LIMIT 1)",
        )?;
        Ok(evict.execute(params![self.tenant, by.as_microsecond()])? == 1)
    }

    fn exists(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM streams WHERE tenant = ? AND name = ?)";
        connection.prepare_cached(sql)?.query_row([&self.tenant, &self.name], |row| row.get(0))
    }

    /// Stores a column. A stream without settings, or a new one, expires at this time.
    fn put(&self, connection: &Connection, column: &str, doc: &str, expires_at: i64) -> rusqlite::Result<()> {
        let sql = format!(
            "INSERT INTO streams (tenant, name, {column}, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT (tenant, name)
             DO UPDATE SET {column} = excluded.{column}, expires_at =
             CASE WHEN expires_at IS NULL THEN NULL ELSE max(expires_at, excluded.expires_at) END"
        );
        connection.prepare_cached(&sql)?.execute(params![self.tenant, self.name, doc, expires_at])?;
        Ok(())
    }
}

fn count(connection: &Connection, tenant: &str) -> rusqlite::Result<usize> {
    let mut count = connection.prepare_cached("SELECT count(*) FROM streams WHERE tenant = ?")?;
    let count: u32 = count.query_row([tenant], |row| row.get(0))?;
    Ok(count as usize)
}

/// Adds frames to their stream. `rooms` has the number of streams that each tenant may still get.
fn record(
    connection: &Connection,
    sent: &SentFrames,
    most: usize,
    rooms: &mut HashMap<TenantId, usize>,
) -> Result<(), CallError> {
    let key = Key::of(&sent.tenant, &sent.stream);
    key.delete_expired(connection)?;
    let mut select = connection.prepare_cached("SELECT activity FROM streams WHERE tenant = ? AND name = ?")?;
    let known = select.query_and_then([&key.tenant, &key.name], activity)?.next().transpose()?;
    if known.is_none() {
        let room = match rooms.get_mut(&sent.tenant) {
            Some(room) => room,
            None => {
                let free = most.saturating_sub(count(connection, &key.tenant)?);
                rooms.entry(sent.tenant.clone()).or_insert(free)
            }
        };
        if *room == 0 {
            return Ok(());
        }
        *room -= 1;
    }
    let mut activity = known.unwrap_or_default();
    activity.add(sent.captured_at, sent.span);
    key.put(connection, "activity", &json(&ActivityDoc::of(&activity))?, expiry(sent.span.to).as_microsecond())?;
    Ok(())
}

fn stored(row: &Row<'_>) -> Result<StoredStream, CallError> {
    let report: Option<ReportDoc> = from_json(row, "report")?;
    Ok(StoredStream {
        name: parsed(row, "name")?,
        settings: settings_of(row)?,
        report: report.map(ReportDoc::into_report).transpose()?,
        activity: activity(row)?,
    })
}

fn settings_of(row: &Row<'_>) -> Result<StreamSettings, CallError> {
    Ok(settings(from_json(row, "detectors")?, row.get("retention_days")?)?)
}

fn activity(row: &Row<'_>) -> Result<StreamActivity, CallError> {
    let doc: Option<ActivityDoc> = from_json(row, "activity")?;
    Ok(doc.unwrap_or_default().into_activity()?)
}

/// The JSON of a column; `None` if it is NULL.
fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>, CallError> {
    let text: Option<String> = row.get(column)?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| unreadable(&error))?)
}

/// The text of a column, parsed.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(row: &Row<'_>, column: &str) -> Result<T, CallError> {
    row.get::<_, String>(column)?.parse().map_err(|error| unreadable(&error).into())
}

fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
