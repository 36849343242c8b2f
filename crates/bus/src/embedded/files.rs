//! The files of a log's folder, for a backup and for a restore.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use uuid::Uuid;

use super::topic::numbered_files;
use super::{segment, unusable};
use crate::seam::BusError;

/// The files of a log, in the order in which a backup copies them while the log is open.
///
/// The groups come first. A message that their offsets count as consumed has had its effects then, and any other message is in a
/// segment that is copied later, or was consumed and dropped in between.
pub struct LogFiles {
    /// The offsets of the consumer groups.
    pub groups: PathBuf,
    /// The segments of each topic, newest first. Retention drops the oldest one first: where a segment no longer exists, neither do
    /// those after it in the list. A segment that begins after the list was made has no message that was acknowledged before.
    pub topics: Vec<Vec<PathBuf>>,
}

impl LogFiles {
    /// Version of the format of the files.
    pub const VERSION: i64 = segment::VERSION as i64;

    /// Lists the files in a log's folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(folder: &Path) -> Result<Self, BusError> {
        let mut topics = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| unusable(folder, &error))? {
            let path = entry.map_err(|error| unusable(folder, &error))?.path();
            if path.extension().is_some_and(|extension| extension == "topic") {
                topics.push(numbered_files(&path)?.into_iter().rev().map(|(_, path)| path).collect());
            }
        }
        topics.sort();
        Ok(Self { groups: Self::groups_in(folder), topics })
    }

    /// The file with the offsets of the consumer groups in a log's folder.
    pub fn groups_in(folder: &Path) -> PathBuf {
        folder.join("groups.db")
    }

    /// Gives every topic a new id. A restored log needs it, because it gives offsets that the log had after the backup to other
    /// messages. Clients with a cursor from before are told to start again, instead of missing those.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn renew_topic_ids(&self) -> Result<(), BusError> {
        let groups = Connection::open(&self.groups).map_err(|error| segment::failure(&self.groups, &error))?;
        for segments in &self.topics {
            let (new, mut old) = (Uuid::new_v4().to_string(), None);
            for path in segments {
                // A segment that was created in advance may be empty.
                let Some(found) = segment::contents(path)? else { continue };
                let renewed = Connection::open(path)
                    .and_then(|segment| segment.execute("UPDATE belongs SET incarnation = ?", [&new]));
                renewed.map_err(|error| segment::failure(path, &error))?;
                old = Some(found.topic_id);
            }
            let Some(old) = old else { continue };
            let moved = groups.execute("UPDATE consumed SET incarnation = ? WHERE incarnation = ?", [&new, &old]);
            moved.map_err(|error| segment::failure(&self.groups, &error))?;
        }
        Ok(())
    }
}
