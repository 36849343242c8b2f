//! Consumer groups: their committed offsets, stored in one small SQLite file, and their members.
//!
//! [`Groups::store`] collects finished offsets from the members' [`InFlight`]; the bus calls it a
//! few times a second. A group exists from its first join on, and retention waits for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use contracts::TopicRole;
use rusqlite::{Connection, params};
use tokio::sync::Notify;

use super::lock;
use super::segment::failure;
use super::settings::BusSync;
use super::topic::TopicLog;
use crate::in_flight::InFlight;
use crate::seam::{BusError, Position};

/// All groups of all topics.
pub struct Groups {
    path: PathBuf,
    /// `None` after the bus was closed.
    connection: Mutex<Option<Connection>>,
    known: Mutex<BTreeMap<(TopicRole, String), Arc<Group>>>,
}

/// A group of a topic.
pub struct Group {
    role: TopicRole,
    name: String,
    topic_id: String,
    state: Mutex<State>,
}

struct State {
    /// The next offset of each partition, as stored on the disk.
    stored: Vec<i64>,
    /// The next offset of each partition, to be stored.
    finished: Vec<i64>,
    member: Option<Arc<Member>>,
}

/// The only member of a group.
#[derive(Default)]
pub struct Member {
    pub in_flight: Mutex<InFlight>,
    /// A message was finished.
    pub changed: Notify,
}

/// A group with its new member.
pub struct Joined {
    pub group: Arc<Group>,
    pub member: Arc<Member>,
    /// The start offset of each partition.
    pub start: Vec<i64>,
}

/// Whether a topic's groups have consumed everything before an offset of each partition.
#[derive(Debug, PartialEq, Eq)]
pub enum Consumed {
    /// The topic has no group.
    NoGroup,
    /// Every group has consumed it.
    ByAll,
    /// At least one group has not consumed it.
    NotYet,
}

impl Groups {
    /// Opens or creates the file, and loads the groups of these topics. Groups of deleted topics are ignored.
    pub fn open(path: &Path, sync: BusSync, topics: &[Arc<TopicLog>]) -> Result<Self, BusError> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", sync.pragma())?;
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS consumed (
                    incarnation TEXT NOT NULL, name TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
                    PRIMARY KEY (incarnation, name, partition)
                ) WITHOUT ROWID",
            )?;
            let mut known = BTreeMap::new();
            for log in topics {
                load_groups(&connection, log, &mut known)?;
            }
            Ok((connection, known))
        };
        let (connection, known) = open().map_err(|error| failure(path, &error))?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(Some(connection)), known: Mutex::new(known) })
    }

    /// Makes the caller the member of a group.
    ///
    /// # Errors
    /// When the group has a member, or its start cannot be stored.
    pub fn join(&self, log: &TopicLog, name: &str) -> Result<Joined, BusError> {
        let group = self.get_or_make(log, name)?;
        let member = Arc::new(Member::default());
        let start = {
            let mut state = lock(&group.state);
            if state.member.is_some() {
                return Err(BusError::Fatal(format!(
                    "group {name} of topic {} already has a member; the embedded log allows one per group",
                    log.topic.name
                )));
            }
            state.member = Some(Arc::clone(&member));
            state.finished.clone()
        };
        Ok(Joined { group, member, start })
    }

    fn get_or_make(&self, log: &TopicLog, name: &str) -> Result<Arc<Group>, BusError> {
        let connection = lock(&self.connection);
        let key = (log.role, name.to_owned());
        if let Some(group) = lock(&self.known).get(&key) {
            return Ok(Arc::clone(group));
        }
        let earliest: Vec<i64> = log.ranges().iter().map(|range| range.earliest).collect();
        let group = Arc::new(Group::new(log, name, earliest.clone()));
        self.write(connection.as_ref(), group.begins_at(&earliest))?;
        lock(&self.known).insert(key, Arc::clone(&group));
        Ok(group)
    }

    /// Stores what members have finished since the last call.
    pub fn store(&self) -> Result<(), BusError> {
        // Locked throughout, so that calls do not overlap.
        let connection = lock(&self.connection);
        let groups: Vec<Arc<Group>> = lock(&self.known).values().cloned().collect();
        let moved: Vec<(&Group, Position)> =
            groups.iter().flat_map(|group| group.unstored().into_iter().map(|position| (&**group, position))).collect();
        if moved.is_empty() {
            return Ok(());
        }
        self.write(connection.as_ref(), moved.iter().copied())?;
        moved.into_iter().for_each(|(group, position)| group.stored(position));
        Ok(())
    }

    fn write<'a>(
        &self,
        connection: Option<&Connection>,
        offsets: impl Iterator<Item = (&'a Group, Position)>,
    ) -> Result<(), BusError> {
        let connection = connection.ok_or(BusError::Closed)?;
        let write = || {
            let transaction = connection.unchecked_transaction()?;
            let mut upsert = transaction.prepare_cached("INSERT OR REPLACE INTO consumed VALUES (?, ?, ?, ?)")?;
            for (group, Position { partition, offset }) in offsets {
                upsert.execute(params![group.topic_id, group.name, partition, offset])?;
            }
            drop(upsert);
            transaction.commit()
        };
        write().map_err(|error| failure(&self.path, &error))
    }

    /// Deletes the groups of a topic that have no member, except the successor. If that is new, it begins at the earliest offset of each
    /// partition that one of them had not consumed, so that nothing is skipped; what another one had consumed is consumed again.
    pub fn replace(&self, log: &TopicLog, successor: &str) -> Result<Vec<String>, BusError> {
        let connection = lock(&self.connection);
        let mut known = lock(&self.known);
        let is_replaced = |group: &&Arc<Group>| {
            group.role == log.role && group.name != successor && lock(&group.state).member.is_none()
        };
        let replaced: Vec<Arc<Group>> = known.values().filter(is_replaced).cloned().collect();
        let key = (log.role, successor.to_owned());
        if !replaced.is_empty() && !known.contains_key(&key) {
            let begin = first_offsets(&replaced);
            let group = Arc::new(Group::new(log, successor, begin.clone()));
            self.write(connection.as_ref(), group.begins_at(&begin))?;
            known.insert(key, group);
        }
        let connection = connection.as_ref().ok_or(BusError::Closed)?;
        for group in &replaced {
            let delete = "DELETE FROM consumed WHERE incarnation = ? AND name = ?";
            connection.execute(delete, [&group.topic_id, &group.name]).map_err(|error| failure(&self.path, &error))?;
            known.remove(&(group.role, group.name.clone()));
        }
        Ok(replaced.iter().map(|group| group.name.clone()).collect())
    }

    /// Closes the file. Nothing is stored after this.
    pub fn close(&self) {
        lock(&self.connection).take();
    }

    /// Whether the groups of a topic have consumed everything before these offsets, by what is stored.
    pub fn consumed(&self, role: TopicRole, ends: &[i64]) -> Consumed {
        let known = lock(&self.known);
        let mut groups = known.values().filter(|group| group.role == role).peekable();
        if groups.peek().is_none() {
            return Consumed::NoGroup;
        }
        let has_consumed =
            |group: &Arc<Group>| lock(&group.state).stored.iter().zip(ends).all(|(stored, end)| stored >= end);
        if groups.all(has_consumed) { Consumed::ByAll } else { Consumed::NotYet }
    }

    /// A group's stored next offset of each partition; `None` for an unknown group.
    pub fn stored(&self, role: TopicRole, name: &str) -> Option<Vec<i64>> {
        let known = lock(&self.known);
        known.get(&(role, name.to_owned())).map(|group| lock(&group.state).stored.clone())
    }
}

impl Group {
    fn new(log: &TopicLog, name: &str, next: Vec<i64>) -> Self {
        let state = State { stored: next.clone(), finished: next, member: None };
        Self { role: log.role, name: name.to_owned(), topic_id: log.topic_id.clone(), state: Mutex::new(state) }
    }

    /// The positions to store for a new group.
    fn begins_at(&self, offsets: &[i64]) -> impl Iterator<Item = (&Self, Position)> {
        (0..).zip(offsets).map(move |(partition, &offset)| (self, Position { partition, offset }))
    }

    /// Removes the member. Messages that it has finished count; messages that it finishes later do not.
    pub fn leave(&self) {
        let mut state = lock(&self.state);
        state.collect();
        if let Some(member) = state.member.take() {
            *lock(&member.in_flight) = InFlight::default();
        }
    }

    fn unstored(&self) -> Vec<Position> {
        let mut state = lock(&self.state);
        state.collect();
        let both = (0..).zip(state.finished.iter().zip(&state.stored));
        both.filter(|(_, (finished, stored))| finished > stored)
            .map(|(partition, (&offset, _))| Position { partition, offset })
            .collect()
    }

    fn stored(&self, position: Position) {
        lock(&self.state).stored[position.partition as usize] = position.offset;
    }
}

impl State {
    /// Collects what the member has finished.
    fn collect(&mut self) {
        let Some(member) = &self.member else { return };
        let mut in_flight = lock(&member.in_flight);
        for position in in_flight.uncommitted() {
            let finished = &mut self.finished[position.partition as usize];
            *finished = position.offset.max(*finished);
            in_flight.committed(position);
        }
    }
}

/// The first offset of each partition that one of the groups has not consumed.
fn first_offsets(groups: &[Arc<Group>]) -> Vec<i64> {
    let stored = groups.iter().map(|group| lock(&group.state).stored.clone());
    let least =
        |one: Vec<i64>, other: Vec<i64>| one.into_iter().zip(other).map(|(one, other)| one.min(other)).collect();
    stored.reduce(least).unwrap_or_default()
}

fn load_groups(
    connection: &Connection,
    log: &TopicLog,
    known: &mut BTreeMap<(TopicRole, String), Arc<Group>>,
) -> rusqlite::Result<()> {
    let ranges = log.ranges();
    let mut select = connection.prepare("SELECT name, partition, next_offset FROM consumed WHERE incarnation = ?")?;
    let mut rows = select.query([&log.topic_id])?;
    let mut offsets: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (name, partition, next): (String, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let all = offsets.entry(name).or_insert_with(|| ranges.iter().map(|range| range.earliest).collect());
        if let (Some(offset), Some(range)) = (all.get_mut(partition as usize), ranges.get(partition as usize)) {
            // After a power failure, new messages get the offsets of lost ones. Those must not count as consumed.
            *offset = next.min(range.end);
        }
    }
    for (name, next) in offsets {
        known.insert((log.role, name.clone()), Arc::new(Group::new(log, &name, next)));
    }
    Ok(())
}
