//! Maintenance, on two threads: one stores the groups' offsets, the other creates segments in
//! advance, seals full ones and drops old ones. They are separate because sealing waits for the
//! disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::disk_usage::DiskUsage;
use super::groups::{Consumed, Groups};
use super::segment::Appender;
use super::settings::BusSync;
use super::topic::TopicLog;
use crate::seam::BusError;

/// Pause between stores of the groups' offsets.
const STORE_EVERY: Duration = Duration::from_millis(200);

/// A request of a writer.
pub enum Job {
    /// Seal a segment that is no longer written.
    Seal(Arc<TopicLog>, Appender),
    /// Create the topic's next segment, which is needed soon.
    Prepare(Arc<TopicLog>),
}

/// Stores groups until the other end of `stop` is dropped.
pub fn store_groups(groups: &Groups, stop: &Receiver<()>) {
    let mut failing = false;
    while stop.recv_timeout(STORE_EVERY) == Err(RecvTimeoutError::Timeout) {
        let stored = groups.store();
        if let (Err(error), false) = (&stored, failing) {
            tracing::warn!(%error, "cannot store the offsets of groups; after a restart they would get messages again");
        }
        failing = stored.is_err();
    }
}

/// The thread that maintains segments.
pub struct Maintenance {
    pub topics: Vec<Arc<TopicLog>>,
    pub groups: Arc<Groups>,
    pub usage: Arc<DiskUsage>,
    pub sync: BusSync,
}

impl Maintenance {
    /// Runs until every writer has ended.
    pub fn run(self, jobs: &Receiver<Job>) {
        let shortest = self.topics.iter().map(|log| log.longest_writing()).min().unwrap_or(Duration::MAX);
        let every = shortest.clamp(Duration::from_millis(10), Duration::from_secs(1));
        // Segments that are not sealed because of a stop, or because a reader blocked it.
        let mut unsealed: Vec<(Arc<TopicLog>, PathBuf)> = Vec::new();
        for log in &self.topics {
            unsealed.extend(log.unsealed().into_iter().map(|path| (Arc::clone(log), path)));
        }
        let mut due = Instant::now();
        loop {
            match jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Job::Prepare(log)) => {
                    if let Err(error) = log.prepare_segment() {
                        tracing::debug!(%error, "a segment will be created when it is needed");
                    }
                }
                Ok(Job::Seal(log, appender)) => {
                    let path = appender.path().to_owned();
                    match appender.seal() {
                        Ok(()) => log.sealed(&path),
                        Err(_) => unsealed.push((log, path)),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() < due {
                continue;
            }
            unsealed.retain(|(log, path)| self.seal(log, path).is_err());
            if let Err(error) = self.drop_old() {
                tracing::warn!(%error, "cannot drop old segments of the log");
            }
            due = Instant::now() + every;
        }
    }

    fn seal(&self, log: &TopicLog, path: &Path) -> Result<(), BusError> {
        Appender::open(path, self.sync)?.seal()?;
        log.sealed(path);
        Ok(())
    }

    fn drop_old(&self) -> Result<(), BusError> {
        let now = SystemTime::now();
        for log in &self.topics {
            loop {
                // Before the call, which holds the lock of the topic.
                let is_over = log.is_over_its_size();
                let may_drop = |ends: &[i64], newest| {
                    (is_over || newest + log.topic.retention <= now) && self.is_consumed(log, ends)
                };
                if !log.drop_oldest(may_drop)? {
                    break;
                }
            }
        }
        while self.usage.is_tight() && self.drop_early()? {}
        Ok(())
    }

    /// Whether every group has consumed all messages before these offsets. A topic for consumer groups waits for its first group.
    fn is_consumed(&self, log: &TopicLog, ends: &[i64]) -> bool {
        match self.groups.consumed(log.role, ends) {
            Consumed::NoGroup => log.role.dead_letters().is_none(),
            Consumed::ByAll => true,
            Consumed::NotYet => false,
        }
    }

    /// Drops the oldest segment of each topic that its groups have consumed, before its retention ends: the disk is nearly full.
    /// Returns whether one was dropped.
    fn drop_early(&self) -> Result<bool, BusError> {
        let mut dropped = false;
        for log in &self.topics {
            let consumed = |ends: &[i64], _| self.groups.consumed(log.role, ends) == Consumed::ByAll;
            dropped |= log.drop_oldest(consumed)?;
        }
        Ok(dropped)
    }
}
