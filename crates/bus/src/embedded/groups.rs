//! Groups: how far each has consumed each topic, kept in one small SQLite file, and who is a member now.
//!
//! A member's finished work is collected from its [ledger](crate::in_flight) by [`Groups::store`], which the bus calls a few times
//! a second. A group is known from the first time that it joined: retention waits for it from then on.

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
    /// Nothing once the bus is closed.
    connection: Mutex<Option<Connection>>,
    known: Mutex<BTreeMap<(TopicRole, String), Arc<Group>>>,
}

/// One group of one topic.
pub struct Group {
    role: TopicRole,
    name: String,
    incarnation: String,
    state: Mutex<State>,
}

struct State {
    /// The next offset of each partition, as it is on the disk.
    stored: Vec<i64>,
    /// The same as it should be there soon.
    finished: Vec<i64>,
    member: Option<Arc<Member>>,
}

/// What the one member of a group has in hand.
#[derive(Default)]
pub struct Member {
    pub ledger: Mutex<InFlight>,
    /// Something was finished.
    pub changed: Notify,
}

/// A group with its new member.
pub struct Joined {
    pub group: Arc<Group>,
    pub member: Arc<Member>,
    /// The offset of each partition to start at.
    pub start: Vec<i64>,
}

/// Where a topic's groups stand against an offset of each partition.
#[derive(Debug, PartialEq, Eq)]
pub enum Consumed {
    /// There is no group.
    NoGroup,
    /// Every group has consumed everything before.
    ByAll,
    /// Some group has not.
    NotYet,
}

impl Groups {
    /// Opens the file or makes it, and recalls the groups of these topics. Groups of topics that are gone are forgotten.
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
                recall(&connection, log, &mut known)?;
            }
            Ok((connection, known))
        };
        let (connection, known) = open().map_err(|error| failure(path, &error))?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(Some(connection)), known: Mutex::new(known) })
    }

    /// Makes the caller the one member of a group.
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
                    "group {name} of topic {} has a member already; the embedded log takes one for each group",
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
        let start = (0..).zip(earliest).map(|(partition, offset)| (&*group, Position { partition, offset }));
        self.write(connection.as_ref(), start)?;
        lock(&self.known).insert(key, Arc::clone(&group));
        Ok(group)
    }

    /// Stores what members have finished since the last time.
    pub fn store(&self) -> Result<(), BusError> {
        // Held all along, so that stores happen one after the other.
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
                upsert.execute(params![group.incarnation, group.name, partition, offset])?;
            }
            drop(upsert);
            transaction.commit()
        };
        write().map_err(|error| failure(&self.path, &error))
    }

    /// Forgets the groups of a topic that have no member and are not among `keep`, so that retention no longer waits for them.
    pub fn forget_others(&self, role: TopicRole, keep: &[&str]) -> Result<Vec<String>, BusError> {
        let connection = lock(&self.connection);
        let connection = connection.as_ref().ok_or(BusError::Closed)?;
        let mut known = lock(&self.known);
        let goes = |group: &Group| {
            group.role == role && !keep.contains(&group.name.as_str()) && lock(&group.state).member.is_none()
        };
        let mut forgotten = Vec::new();
        for group in known.values().filter(|group| goes(group)) {
            let delete = "DELETE FROM consumed WHERE incarnation = ? AND name = ?";
            connection
                .execute(delete, [&group.incarnation, &group.name])
                .map_err(|error| failure(&self.path, &error))?;
            forgotten.push(group.name.clone());
        }
        known.retain(|_, group| group.role != role || !forgotten.contains(&group.name));
        Ok(forgotten)
    }

    /// Closes the file; nothing is stored any more.
    pub fn close(&self) {
        lock(&self.connection).take();
    }

    /// Whether the groups of a topic have stored that they consumed everything before these offsets.
    pub fn consumed(&self, role: TopicRole, ends: &[i64]) -> Consumed {
        let known = lock(&self.known);
        let mut groups = known.values().filter(|group| group.role == role).peekable();
        if groups.peek().is_none() {
            return Consumed::NoGroup;
        }
        let has_all =
            |group: &Arc<Group>| lock(&group.state).stored.iter().zip(ends).all(|(stored, end)| stored >= end);
        if groups.all(has_all) { Consumed::ByAll } else { Consumed::NotYet }
    }

    /// The next offset of each partition that a group has stored, if it is known.
    pub fn stored(&self, role: TopicRole, name: &str) -> Option<Vec<i64>> {
        let known = lock(&self.known);
        known.get(&(role, name.to_owned())).map(|group| lock(&group.state).stored.clone())
    }
}

impl Group {
    fn new(log: &TopicLog, name: &str, next: Vec<i64>) -> Self {
        let state = State { stored: next.clone(), finished: next, member: None };
        Self { role: log.role, name: name.to_owned(), incarnation: log.incarnation.clone(), state: Mutex::new(state) }
    }

    /// The member leaves: what it finished counts, what it marks from now on does not.
    pub fn leave(&self) {
        let mut state = lock(&self.state);
        state.collect();
        if let Some(member) = state.member.take() {
            *lock(&member.ledger) = InFlight::default();
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
    /// Takes over what the member has finished.
    fn collect(&mut self) {
        let Some(member) = &self.member else { return };
        let mut ledger = lock(&member.ledger);
        for position in ledger.uncommitted() {
            let finished = &mut self.finished[position.partition as usize];
            *finished = position.offset.max(*finished);
            ledger.committed(position);
        }
    }
}

fn recall(
    connection: &Connection,
    log: &TopicLog,
    known: &mut BTreeMap<(TopicRole, String), Arc<Group>>,
) -> rusqlite::Result<()> {
    let ranges = log.ranges();
    let mut select = connection.prepare("SELECT name, partition, next_offset FROM consumed WHERE incarnation = ?")?;
    let mut rows = select.query([&log.incarnation])?;
    let mut offsets: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (name, partition, next): (String, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let all = offsets.entry(name).or_insert_with(|| ranges.iter().map(|range| range.earliest).collect());
        if let (Some(offset), Some(range)) = (all.get_mut(partition as usize), ranges.get(partition as usize)) {
            // Messages lost with the power come again under the same offsets: they must not count as consumed.
            *offset = next.min(range.end);
        }
    }
    for (name, next) in offsets {
        known.insert((log.role, name.clone()), Arc::new(Group::new(log, &name, next)));
    }
    Ok(())
}
