//! Watchlists in SQLite. There is one writer, so no other write runs between the statements of one.

use std::collections::BTreeSet;

use async_trait::async_trait;
use contracts::{SubjectId, TenantId, WatchlistName};
use rusqlite::{Connection, Row, params};

use super::{
    PutWatchlistOutcome, Watchlist, WatchlistMemberOutcome, WatchlistRevision, WatchlistStore, new_revision, unreadable,
};
use crate::results::StoreError;
use crate::sqlite::{CallError, SqliteDocuments, json};

const REVISIONS: &str = "SELECT tenant, name, revision FROM watchlists";
const ALL: &str = "SELECT name, revision, subjects FROM watchlists WHERE tenant = ? ORDER BY name";
const ONE: &str = "SELECT name, revision, subjects FROM watchlists WHERE tenant = ? AND name = ?";
const COUNT: &str = "SELECT count(*), coalesce(max(name = ?2), 0) FROM watchlists WHERE tenant = ?1";
const PUT: &str = "INSERT INTO watchlists (tenant, name, revision, subjects) VALUES (?, ?, ?, ?)
    ON CONFLICT (tenant, name) DO UPDATE SET revision = excluded.revision, subjects = excluded.subjects";
const DELETE: &str = "DELETE FROM watchlists WHERE tenant = ? AND name = ?";

#[async_trait]
impl WatchlistStore for SqliteDocuments {
    async fn watchlist_revisions(&self) -> Result<Vec<WatchlistRevision>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(REVISIONS)?;
            statement.query_and_then([], revision)?.collect()
        })
        .await
    }

    async fn watchlists(&self, tenant: &TenantId) -> Result<Vec<Watchlist>, StoreError> {
        let tenant = tenant.to_string();
        self.read(move |connection| all(connection, &tenant)).await
    }

    async fn watchlist(&self, tenant: &TenantId, name: &WatchlistName) -> Result<Option<Watchlist>, StoreError> {
        let key = Key::of(tenant, name);
        self.read(move |connection| key.read(connection)).await
    }

    async fn put_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subjects: &BTreeSet<SubjectId>,
        most: usize,
    ) -> Result<PutWatchlistOutcome, StoreError> {
        let (key, subjects) = (Key::of(tenant, name), subjects.clone());
        self.write(move |connection| {
            let mut count = connection.prepare_cached(COUNT)?;
            let (lists, exists): (u32, bool) =
                count.query_row([&key.tenant, &key.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if !exists && lists as usize >= most {
                return Ok(PutWatchlistOutcome::Full);
            }
            key.put(connection, &subjects)?;
            Ok(PutWatchlistOutcome::Stored)
        })
        .await
    }

    async fn add_to_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subject: SubjectId,
        most: usize,
    ) -> Result<WatchlistMemberOutcome, StoreError> {
        let key = Key::of(tenant, name);
        self.write(move |connection| {
            let Some(Watchlist { mut subjects, .. }) = key.read(connection)? else {
                return Ok(WatchlistMemberOutcome::NoList);
            };
            if subjects.insert(subject) {
                if subjects.len() > most {
                    return Ok(WatchlistMemberOutcome::Full);
                }
                key.put(connection, &subjects)?;
            }
            Ok(WatchlistMemberOutcome::Stored)
        })
        .await
    }

    async fn remove_from_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subject: SubjectId,
    ) -> Result<WatchlistMemberOutcome, StoreError> {
        let key = Key::of(tenant, name);
        self.write(move |connection| {
            let Some(Watchlist { mut subjects, .. }) = key.read(connection)? else {
                return Ok(WatchlistMemberOutcome::NoList);
            };
            if !subjects.remove(&subject) {
                return Ok(WatchlistMemberOutcome::NotOnList);
            }
            key.put(connection, &subjects)?;
            Ok(WatchlistMemberOutcome::Stored)
        })
        .await
    }

    async fn delete_watchlist(&self, tenant: &TenantId, name: &WatchlistName) -> Result<bool, StoreError> {
        let key = Key::of(tenant, name);
        self.write(move |connection| {
            let mut delete = connection.prepare_cached(DELETE)?;
            Ok(delete.execute([&key.tenant, &key.name])? == 1)
        })
        .await
    }

    async fn leave_watchlists(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        replaced_by: Option<SubjectId>,
    ) -> Result<u64, StoreError> {
        let tenant = tenant.to_string();
        self.write(move |connection| {
            let mut changed = 0;
            for Watchlist { name, mut subjects, .. } in all(connection, &tenant)? {
                if subjects.remove(&subject) {
                    subjects.extend(replaced_by);
                    Key { tenant: tenant.clone(), name: name.to_string() }.put(connection, &subjects)?;
                    changed += 1;
                }
            }
            Ok(changed)
        })
        .await
    }
}

/// The key of a list.
struct Key {
    tenant: String,
    name: String,
}

impl Key {
    fn of(tenant: &TenantId, name: &WatchlistName) -> Self {
        Self { tenant: tenant.to_string(), name: name.to_string() }
    }

    fn read(&self, connection: &Connection) -> Result<Option<Watchlist>, CallError> {
        let mut statement = connection.prepare_cached(ONE)?;
        statement.query_and_then([&self.tenant, &self.name], watchlist)?.next().transpose()
    }

    fn put(&self, connection: &Connection, subjects: &BTreeSet<SubjectId>) -> Result<(), CallError> {
        let mut put = connection.prepare_cached(PUT)?;
        put.execute(params![self.tenant, self.name, new_revision(), json(subjects)?])?;
        Ok(())
    }
}

fn all(connection: &Connection, tenant: &str) -> Result<Vec<Watchlist>, CallError> {
    connection.prepare_cached(ALL)?.query_and_then([tenant], watchlist)?.collect()
}

fn revision(row: &Row<'_>) -> Result<WatchlistRevision, CallError> {
    let tenant: String = row.get("tenant")?;
    let tenant = tenant.parse::<TenantId>().map_err(|error| unreadable(&error))?;
    Ok(WatchlistRevision { tenant, name: name_of(row)?, revision: row.get("revision")? })
}

fn watchlist(row: &Row<'_>) -> Result<Watchlist, CallError> {
    let subjects: String = row.get("subjects")?;
    let subjects = serde_json::from_str(&subjects).map_err(|error| unreadable(&error))?;
    Ok(Watchlist { name: name_of(row)?, subjects, revision: row.get("revision")? })
}

fn name_of(row: &Row<'_>) -> Result<WatchlistName, CallError> {
    let name: String = row.get("name")?;
    Ok(name.parse::<WatchlistName>().map_err(|error| unreadable(&error))?)
}
