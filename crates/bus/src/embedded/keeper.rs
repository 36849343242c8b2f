//! Housekeeping, on two threads: one stores how far groups have come, the other makes segments ahead of need, seals full ones and
//! drops old ones. They are apart because sealing waits for the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::groups::{Consumed, Groups};
use super::segment::Appender;
use super::settings::BusSync;
use super::topic::TopicLog;
use super::usage::Usage;
use crate::seam::BusError;

/// How often groups are stored.
const STORE_EVERY: Duration = Duration::from_millis(200);

/// What writers ask of the keeper.
pub enum Job {
    /// A segment was closed.
    Seal(Arc<TopicLog>, Appender),
    /// A topic will soon need its next segment.
    Prepare(Arc<TopicLog>),
}

/// Stores groups until the other end of `stop` is dropped.
pub fn store_groups(groups: &Groups, stop: &Receiver<()>) {
    let mut failing = false;
    while stop.recv_timeout(STORE_EVERY) == Err(RecvTimeoutError::Timeout) {
        let stored = groups.store();
        if let (Err(error), false) = (&stored, failing) {
            tracing::warn!(%error, "cannot store how far groups have consumed; their work would be done again");
        }
        failing = stored.is_err();
    }
}

/// The thread that keeps segments.
pub struct Keeper {
    pub topics: Vec<Arc<TopicLog>>,
    pub groups: Arc<Groups>,
    pub usage: Arc<Usage>,
    pub sync: BusSync,
}

impl Keeper {
    /// Keeps house until every writer is gone.
    pub fn run(self, jobs: &Receiver<Job>) {
        let shortest = self.topics.iter().map(|log| log.longest_writing()).min().unwrap_or(Duration::MAX);
        let every = shortest.clamp(Duration::from_millis(10), Duration::from_secs(1));
        // What the last stop or a reader in the way left unsealed.
        let mut unsealed: Vec<(Arc<TopicLog>, PathBuf)> = Vec::new();
        for log in &self.topics {
            unsealed.extend(log.unsealed().into_iter().map(|path| (Arc::clone(log), path)));
        }
        let mut due = Instant::now();
        loop {
            match jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Job::Prepare(log)) => {
                    if let Err(error) = log.prepare_segment() {
                        tracing::debug!(%error, "a segment will be made when it is needed");
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
            let is_over = |ends: &[i64], newest| newest + log.topic.retention <= now && self.is_free(log, ends);
            while log.drop_oldest(is_over)? {}
        }
        while self.usage.is_tight() && self.drop_early()? {}
        Ok(())
    }

    /// Whether no group has yet to consume what lies before these offsets. A topic that groups consume waits for its first group.
    fn is_free(&self, log: &TopicLog, ends: &[i64]) -> bool {
        match self.groups.consumed(log.role, ends) {
            Consumed::NoGroup => log.role.dead_letters().is_none(),
            Consumed::ByAll => true,
            Consumed::NotYet => false,
        }
    }

    /// The disk is nearly full: drops the oldest segment of each topic that its groups have consumed. Says whether one went.
    fn drop_early(&self) -> Result<bool, BusError> {
        let mut dropped = false;
        for log in &self.topics {
            let consumed = |ends: &[i64], _| self.groups.consumed(log.role, ends) == Consumed::ByAll;
            dropped |= log.drop_oldest(consumed)?;
        }
        Ok(dropped)
    }
}
