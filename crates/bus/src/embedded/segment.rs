//! A segment of a topic: one SQLite file with one [`Appender`] and any number of readers, which is sealed when it is full and
//! dropped as a whole.
//!
//! While it is written it is in WAL mode without automatic checkpoints, so an append is one sequential write. Sealing copies the WAL
//! into the file once, in the background, and leaves a plain file. `docs/decisions/embedded-log.md` has the figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use contracts::Message;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ffi, params};

use super::record;
use super::settings::BusSync;
use crate::seam::{BusError, Delivery, Position};

/// The bytes `SLbs`, which identify a file of this log.
const APPLICATION_ID: i32 = 0x534c_6273;
/// Version of the tables.
pub const VERSION: i32 = 1;

const TABLES: &str = "
    CREATE TABLE belongs (incarnation TEXT NOT NULL);
    CREATE TABLE base (partition INTEGER PRIMARY KEY, first_offset INTEGER NOT NULL);
    CREATE TABLE message (
        place INTEGER PRIMARY KEY, time INTEGER NOT NULL, key BLOB, headers BLOB NOT NULL, value BLOB NOT NULL
    );
";

/// Maximum number of messages and bytes of one read, so that a slow reader needs little memory.
const READ_MESSAGES: usize = 256;
const READ_BYTES: usize = 2 << 20;

/// The segment that is being written. A topic has one.
pub struct Appender {
    connection: Connection,
    path: PathBuf,
}

/// The contents of a segment.
pub struct SegmentContents {
    /// Id of its topic.
    pub topic_id: String,
    /// The first offset of each partition.
    pub base: Vec<i64>,
    /// The offset after the last one of each partition.
    pub end: Vec<i64>,
    /// Time of the newest message, in microseconds.
    pub newest: Option<i64>,
}

impl Appender {
    /// Creates an empty segment. It is part of the log only after [`begin`](Self::begin).
    pub fn create(path: &Path, topic_id: &str, sync: BusSync) -> Result<Self, BusError> {
        let make = || {
            let connection = Connection::open(path)?;
            // With large pages an image needs only a few consecutive pages, which doubles the write speed of 70 KB frames.
            connection.pragma_update(None, "page_size", 32_768)?;
            let transaction = connection.unchecked_transaction()?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.execute_batch(TABLES)?;
            transaction.execute("INSERT INTO belongs VALUES (?)", [topic_id])?;
            transaction.commit()?;
            Ok(connection)
        };
        let connection = make().map_err(|error| failure(path, &error))?;
        Self::with(connection, path, sync)
    }

    /// Opens a segment to continue writing it.
    pub fn open(path: &Path, sync: BusSync) -> Result<Self, BusError> {
        let connection = Connection::open(path).map_err(|error| failure(path, &error))?;
        Self::with(connection, path, sync)
    }

    fn with(connection: Connection, path: &Path, sync: BusSync) -> Result<Self, BusError> {
        let prepare = || {
            connection.busy_timeout(Duration::from_secs(2))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
            connection.pragma_update(None, "cache_size", -8_192)?;
            connection.pragma_update(None, "synchronous", sync.pragma())
        };
        prepare().map_err(|error| failure(path, &error))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Makes the segment part of the log, with these first offsets.
    pub fn begin(&mut self, base: &[i64]) -> Result<(), BusError> {
        let mut write = || {
            let transaction = self.connection.transaction()?;
            for (partition, first_offset) in (0_i64..).zip(base) {
                transaction.execute("INSERT INTO base VALUES (?, ?)", params![partition, first_offset])?;
            }
            transaction.commit()
        };
        write().map_err(|error| failure(&self.path, &error))
    }

    /// Writes all messages or none.
    pub fn append<'a>(&mut self, batch: impl Iterator<Item = &'a Delivery>) -> Result<(), BusError> {
        let write = || {
            let transaction = self.connection.transaction()?;
            let mut insert = transaction.prepare_cached("INSERT INTO message VALUES (?, ?, ?, ?, ?)")?;
            for Delivery { position, timestamp, message } in batch {
                insert.execute(params![
                    record::row_id(*position),
                    record::micros(*timestamp),
                    message.key.as_deref(),
                    record::encode_headers(&message.headers),
                    &message.value[..],
                ])?;
            }
            drop(insert);
            transaction.commit()
        };
        write().map_err(|error| failure(&self.path, &error))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends writing and merges the WAL into the file. Fails while a reader blocks it; it can be retried.
    pub fn seal(self) -> Result<(), BusError> {
        let checkpoint = || {
            let busy: i64 = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            let mode: String = self.connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
            Ok(busy == 0 && mode == "delete")
        };
        match checkpoint().map_err(|error| failure(&self.path, &error))? {
            true => Ok(()),
            false => Err(BusError::Unavailable(format!("{} is being read", self.path.display()))),
        }
    }
}

/// The contents of a segment; `None` for one that was never part of the log and can be removed.
pub fn contents(path: &Path) -> Result<Option<SegmentContents>, BusError> {
    let connection = open_to_read(path)?;
    let read = || {
        let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            return Ok(Ok(None));
        }
        if id != APPLICATION_ID || version != VERSION {
            return Ok(Err(foreign(path, id, version)));
        }
        let topic_id: String = connection.query_row("SELECT incarnation FROM belongs", [], |row| row.get(0))?;
        let mut offsets = connection.prepare("SELECT first_offset FROM base ORDER BY partition")?;
        let base = offsets.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        if base.is_empty() {
            return Ok(Ok(None));
        }
        let mut contents = SegmentContents { topic_id, end: base.clone(), base, newest: None };
        let mut last = connection
            .prepare("SELECT place, time FROM message WHERE place >= ? AND place < ? ORDER BY place DESC LIMIT 1")?;
        for (partition, end) in (0..).zip(&mut contents.end) {
            let within = [partition, partition + 1].map(|partition| record::row_id(Position { partition, offset: 0 }));
            let found = last.query_row(within, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let Some((row_id, time)) = found else { continue };
            *end = record::position(row_id).offset + 1;
            contents.newest = contents.newest.max(Some(time));
        }
        Ok(Ok(Some(contents)))
    };
    read().map_err(|error| failure(path, &error))?
}

/// The error for a file of a later version, or of another program.
fn foreign(path: &Path, id: i32, version: i32) -> BusError {
    let path = path.display();
    BusError::Fatal(if id == APPLICATION_ID {
        format!(
            "the log's file {path} has version {version}, this program knows {VERSION}; run the version that wrote it or choose another \
             folder with SIGHTLINE_DATA_DIR (nothing was changed)"
        )
    } else {
        format!(
            "{path} is not a file of Sightline's log; choose another folder with SIGHTLINE_DATA_DIR (nothing was changed)"
        )
    })
}

/// The messages of a partition from `from` to before `end`, up to the limits of one read; at least one message, if there is any.
pub fn read(path: &Path, from: Position, end: i64) -> Result<Vec<Delivery>, BusError> {
    let connection = open_to_read(path)?;
    let mut deliveries = Vec::new();
    let mut bytes = 0;
    let mut unreadable = false;
    let mut collect = || {
        let mut select = connection.prepare(
            "SELECT place, time, key, headers, value FROM message WHERE place >= ? AND place < ? ORDER BY place",
        )?;
        let mut rows = select.query([record::row_id(from), record::row_id(Position { offset: end, ..from })])?;
        while let Some(row) = rows.next()? {
            let copied = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
            let Some(headers) = record::decode_headers(copied(row.get_ref(3)?.as_blob()?)) else {
                unreadable = true;
                return Ok(());
            };
            let key = row.get_ref(2)?.as_blob_or_null()?.map(copied);
            let message = Message { key, headers, value: copied(row.get_ref(4)?.as_blob()?) };
            bytes += message.weight();
            deliveries.push(Delivery {
                position: record::position(row.get(0)?),
                timestamp: record::system_time(row.get(1)?),
                message,
            });
            if deliveries.len() >= READ_MESSAGES || bytes >= READ_BYTES {
                break;
            }
        }
        Ok(())
    };
    collect().map_err(|error| failure(path, &error))?;
    if unreadable && deliveries.is_empty() {
        return Err(damaged(path, "headers of a message cannot be decoded"));
    }
    Ok(deliveries)
}

/// The first message of a partition from `from` to before `end` with a time of `since` or later: offset and time, in microseconds.
pub fn first_since(path: &Path, from: Position, end: i64, since: i64) -> Result<Option<(i64, i64)>, BusError> {
    let connection = open_to_read(path)?;
    let find = || {
        let found = connection.query_row(
            "SELECT place, time FROM message WHERE place >= ? AND place < ? AND time >= ? ORDER BY place LIMIT 1",
            [record::row_id(from), record::row_id(Position { offset: end, ..from }), since],
            |row| Ok((row.get(0)?, row.get(1)?)),
        );
        found.optional()
    };
    let found = find().map_err(|error| failure(path, &error))?;
    Ok(found.map(|(row_id, time)| (record::position(row_id).offset, time)))
}

/// Bytes of a segment on the disk.
pub fn disk_bytes(path: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    size(path) + size(&adjacent(path, "-wal"))
}

/// Whether a segment is a plain file without a WAL.
pub fn is_sealed(path: &Path) -> bool {
    !adjacent(path, "-wal").exists()
}

/// Removes a segment and SQLite's companion files.
pub fn remove(path: &Path) -> Result<(), BusError> {
    for path in [path.to_owned(), adjacent(path, "-wal"), adjacent(path, "-shm"), adjacent(path, "-journal")] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(BusError::Unavailable(format!("cannot remove {}: {error}", path.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// An error of SQLite with this file as a [`BusError`].
pub fn failure(path: &Path, error: &rusqlite::Error) -> BusError {
    match error.sqlite_error_code() {
        _ if is_disk_full(error) => BusError::DiskFull(format!("{}: {error}", path.display())),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, error),
        _ => BusError::Unavailable(format!("{}: {error}", path.display())),
    }
}

/// Whether the disk is full: also for the shared memory of a write-ahead log, which is a file beside the database.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || extended == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

fn damaged(path: &Path, reason: impl std::fmt::Display) -> BusError {
    BusError::Fatal(format!(
        "{} is damaged: {reason}; restore it from a backup, or start with another SIGHTLINE_DATA_DIR",
        path.display()
    ))
}

fn open_to_read(path: &Path) -> Result<Connection, BusError> {
    // Not read-only: the first connection after a kill recovers the WAL.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        Ok(connection)
    };
    open().map_err(|error| failure(path, &error))
}

fn adjacent(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
