//! A topic: its segments on the disk, its newest messages in memory, and the end of each partition.
//!
//! The [writer](super::writer) adds what it has stored, [cursors](super::topic_cursor) read, and
//! [maintenance](super::maintenance) seals and drops segments. They share one lock, which is never held during disk access.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use contracts::{Topic, TopicRole};
use tokio::sync::watch;
use uuid::Uuid;

use super::disk_usage::DiskUsage;
use super::lock;
use super::record;
use super::segment::{self, Appender};
use super::settings::Options;
use crate::metrics::TopicMetrics;
use crate::seam::{BusError, Delivery, Position, Range, Start};

/// Maximum number of messages and bytes that a cursor reads from memory at once.
const TAKE_MESSAGES: usize = 64;
const TAKE_BYTES: usize = 1 << 20;

/// A topic's log.
pub struct TopicLog {
    pub role: TopicRole,
    pub topic: Topic,
    /// Created with the topic.
    pub topic_id: String,
    pub metrics: TopicMetrics,
    directory: PathBuf,
    options: Options,
    usage: Arc<DiskUsage>,
    state: Mutex<State>,
    /// A segment created in advance, so that no message waits for its creation.
    spare: Mutex<Option<SpareSegment>>,
    appended: watch::Sender<()>,
    /// The fatal error of the last write.
    failure: Mutex<Option<BusError>>,
}

struct State {
    /// Oldest first; the last one is being written. Empty only while the topic is opened.
    segments: VecDeque<Segment>,
    partitions: Vec<Partition>,
    /// The partition of each message in memory, oldest message first.
    remembered: VecDeque<usize>,
    remembered_bytes: usize,
    /// Time of the newest message, in microseconds. The times of messages never decrease.
    newest: i64,
}

struct Partition {
    /// The offset of the next message.
    end: i64,
    /// The messages before `end`, without a gap.
    newest: VecDeque<Delivery>,
}

struct Segment {
    number: u64,
    path: PathBuf,
    base: Vec<i64>,
    newest: Option<i64>,
    bytes: u64,
    sealed: bool,
}

struct SpareSegment {
    number: u64,
    path: PathBuf,
    appender: Appender,
}

/// Where a cursor finds its next message.
pub enum Located {
    /// In memory, with those that follow it in its partition.
    Memory(Vec<Delivery>),
    /// In this segment, which has the partition's messages to before `end`.
    Disk { path: PathBuf, from: Position, end: i64 },
    /// Retention dropped it; the partition starts at `to`.
    Gap { from: Position, to: i64 },
    /// There is no next message yet.
    Nowhere,
}

impl TopicLog {
    /// Opens or creates a topic's folder, and returns the segment to write.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be used; the message names it.
    pub fn open(
        topic: &Topic,
        directory: PathBuf,
        options: Options,
        usage: Arc<DiskUsage>,
    ) -> Result<(Self, Appender), BusError> {
        fs::create_dir_all(&directory).map_err(|error| super::unusable(&directory, &error))?;
        let found = FolderContents::in_folder(&directory, topic)?;
        let topic_id = found.topic_id.unwrap_or_else(|| Uuid::new_v4().to_string());
        let newest = found.segments.iter().filter_map(|segment| segment.newest).max().unwrap_or(0);
        let ends = found.end.into_iter().map(|end| Partition { end, newest: VecDeque::new() });
        let log = Self {
            role: topic.role,
            topic: topic.clone(),
            topic_id,
            metrics: TopicMetrics::of(topic.role),
            directory,
            options,
            usage,
            state: Mutex::new(State {
                segments: found.segments.into(),
                partitions: ends.collect(),
                remembered: VecDeque::new(),
                remembered_bytes: 0,
                newest,
            }),
            spare: Mutex::new(None),
            appended: watch::Sender::new(()),
            failure: Mutex::new(None),
        };
        let last = lock(&log.state).segments.back_mut().map(|segment| {
            segment.sealed = false;
            segment.path.clone()
        });
        let appender = match last {
            Some(path) => Appender::open(&path, options.sync)?,
            None => log.begin_segment()?,
        };
        log.count_usage();
        Ok((log, appender))
    }

    // For the writer.

    /// The next offset of each partition, and the earliest time that the next message may have.
    pub fn ends(&self) -> (Vec<i64>, SystemTime) {
        let state = lock(&self.state);
        (state.partitions.iter().map(|partition| partition.end).collect(), record::system_time(state.newest))
    }

    /// Begins a new segment at the end of the log.
    pub fn begin_segment(&self) -> Result<Appender, BusError> {
        let mut slot = lock(&self.spare);
        let mut spare = match slot.take() {
            Some(spare) => spare,
            None => self.make_spare()?,
        };
        let base = self.ends().0;
        if let Err(error) = spare.appender.begin(&base) {
            *slot = Some(spare);
            return Err(error);
        }
        let SpareSegment { number, path, appender } = spare;
        lock(&self.state).segments.push_back(Segment { number, path, base, newest: None, bytes: 0, sealed: false });
        Ok(appender)
    }

    /// Creates a segment in advance.
    pub fn prepare_segment(&self) -> Result<(), BusError> {
        let mut spare = lock(&self.spare);
        if spare.is_none() {
            *spare = Some(self.make_spare()?);
        }
        Ok(())
    }

    /// Closes the segment created in advance.
    pub fn close(&self) {
        lock(&self.spare).take();
    }

    fn make_spare(&self) -> Result<SpareSegment, BusError> {
        let number = lock(&self.state).segments.back().map_or(1, |last| last.number + 1);
        let path = self.directory.join(format!("{number:012}.db"));
        // An unfinished file of an earlier start, or from a full disk.
        segment::remove(&path)?;
        let appender = Appender::create(&path, &self.topic_id, self.options.sync)?;
        Ok(SpareSegment { number, path, appender })
    }

    /// Makes stored messages visible to readers.
    pub fn publish(&self, batch: Vec<Delivery>) {
        {
            let mut state = lock(&self.state);
            for delivery in batch {
                state.remember(delivery);
            }
            state.forget_over(self.options.memory_bytes);
            let newest = state.newest;
            if let Some(active) = state.segments.back_mut() {
                active.newest = Some(newest);
                active.bytes = segment::disk_bytes(&active.path);
            }
        }
        self.count_usage();
        self.appended.send_replace(());
    }

    /// Stores the outcome of the last write.
    pub fn set_failure(&self, error: Option<&BusError>) {
        *lock(&self.failure) = error.filter(|error| !error.is_transient()).cloned();
    }

    /// The fatal error of the last write.
    pub fn failure(&self) -> Option<BusError> {
        lock(&self.failure).clone()
    }

    /// Bytes of the segment that is being written.
    pub fn active_bytes(&self) -> u64 {
        lock(&self.state).segments.back().map_or(0, |active| active.bytes)
    }

    fn count_usage(&self) {
        let bytes = lock(&self.state).segments.iter().map(|segment| segment.bytes).sum();
        self.usage.set(self.role, bytes);
    }

    // For readers.

    /// Changes when messages were appended.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.appended.subscribe()
    }

    /// The next message of the first partition, from partition `turn` on, that has one for a cursor at these offsets.
    pub fn locate(&self, next: &[i64], turn: usize) -> Located {
        let state = lock(&self.state);
        let count = next.len();
        for partition in (turn..count).chain(0..turn.min(count)) {
            match state.locate(partition, next[partition]) {
                Located::Nowhere => {}
                located => return located,
            }
        }
        Located::Nowhere
    }

    /// The message at an offset, or the oldest after it where retention dropped it.
    pub fn locate_one(&self, partition: usize, offset: i64) -> Located {
        let state = lock(&self.state);
        match state.locate(partition, offset) {
            Located::Gap { to, .. } => state.locate(partition, to),
            located => located,
        }
    }

    /// The range of offsets of each partition.
    pub fn ranges(&self) -> Vec<Range> {
        let state = lock(&self.state);
        let ends = (0..).zip(&state.partitions);
        ends.map(|(partition, at)| Range { partition, earliest: state.earliest(partition as usize), end: at.end })
            .collect()
    }

    /// The start offset of each partition. Reads the disk for [`Start::Time`].
    pub fn start(&self, start: Start) -> Result<Vec<i64>, BusError> {
        let begin = |range: Range| match start {
            Start::Earliest => Ok(range.earliest),
            Start::Latest => Ok(range.end),
            // An offset beyond the end belonged to a message that was lost in a power failure; the reader has not read the next message.
            Start::Offset(offset) => Ok(offset.clamp(0, range.end)),
            Start::Tail(count) => {
                Ok(range.end.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX)).max(range.earliest))
            }
            Start::Time(time) => self.first_since(range, record::micros(time)),
        };
        self.ranges().into_iter().map(begin).collect()
    }

    fn first_since(&self, range: Range, since: i64) -> Result<i64, BusError> {
        let partition = range.partition as usize;
        let mut offset = range.earliest;
        // Segments that end before that time are skipped without disk access.
        while let Some((path, end)) = self.segment_that_may_contain(partition, &mut offset, since) {
            let from = Position { partition: range.partition, offset };
            match segment::first_since(&path, from, end, since) {
                Ok(Some((found, _))) => return Ok(found),
                Ok(None) => offset = end,
                // The segment was dropped in the meantime: the search continues after it.
                Err(_) if !path.exists() => offset = end,
                Err(error) => return Err(error),
            }
        }
        Ok(range.end)
    }

    fn segment_that_may_contain(&self, partition: usize, offset: &mut i64, since: i64) -> Option<(PathBuf, i64)> {
        let state = lock(&self.state);
        for (index, segment) in state.segments.iter().enumerate() {
            let end = state.end_of(index, partition);
            if end > *offset && segment.newest >= Some(since) {
                *offset = segment.base[partition].max(*offset);
                return Some((segment.path.clone(), end));
            }
        }
        None
    }

    // For maintenance.

    /// Segments that are neither written nor sealed.
    pub fn unsealed(&self) -> Vec<PathBuf> {
        let state = lock(&self.state);
        let written = state.segments.len() - 1;
        let unsealed = state.segments.iter().take(written).filter(|segment| !segment.sealed);
        unsealed.map(|segment| segment.path.clone()).collect()
    }

    /// Records that a segment was sealed.
    pub fn sealed(&self, path: &Path) {
        if let Some(segment) = lock(&self.state).segments.iter_mut().find(|segment| segment.path == path) {
            segment.sealed = true;
            segment.bytes = segment::disk_bytes(&segment.path);
        }
        self.count_usage();
    }

    /// Drops the oldest segment if it is sealed and `may_drop` agrees; returns whether it did. `may_drop` gets the offset after the
    /// segment's last message of each partition, and the time of its newest message.
    pub fn drop_oldest(&self, may_drop: impl FnOnce(&[i64], SystemTime) -> bool) -> Result<bool, BusError> {
        let path = {
            let mut state = lock(&self.state);
            if state.segments.len() < 2 || !state.segments[0].sealed {
                return Ok(false);
            }
            let newest = record::system_time(state.segments[0].newest.unwrap_or(0));
            if !may_drop(&state.segments[1].base, newest) {
                return Ok(false);
            }
            state.forget_first_segment()
        };
        self.count_usage();
        path.map_or(Ok(()), |path| segment::remove(&path))?;
        Ok(true)
    }

    /// Whether the topic is larger than its `retention_bytes` for all partitions together, since a segment has messages of all.
    pub fn is_over_its_size(&self) -> bool {
        let size = || lock(&self.state).segments.iter().map(|segment| segment.bytes).sum::<u64>();
        max_bytes(&self.topic).is_some_and(|limit| size() > limit)
    }

    /// Maximum time for which a segment is written. Retention drops whole segments, so a message is kept at most this much longer.
    pub fn longest_writing(&self) -> Duration {
        self.topic.retention / 8
    }
}

/// The limit of a topic's size in bytes.
pub fn max_bytes(topic: &Topic) -> Option<u64> {
    Some(topic.retention_bytes?.saturating_mul(topic.partitions.unsigned_abs().into()))
}

impl State {
    fn earliest(&self, partition: usize) -> i64 {
        self.segments.front().map_or(0, |oldest| oldest.base[partition])
    }

    /// The offset after a segment's last message of a partition.
    fn end_of(&self, segment: usize, partition: usize) -> i64 {
        self.segments.get(segment + 1).map_or(self.partitions[partition].end, |next| next.base[partition])
    }

    fn locate(&self, partition: usize, offset: i64) -> Located {
        let at = &self.partitions[partition];
        let from = Position { partition: i32::try_from(partition).unwrap_or(i32::MAX), offset };
        let earliest = self.earliest(partition);
        if offset < earliest {
            return Located::Gap { from, to: earliest };
        }
        if offset >= at.end {
            return Located::Nowhere;
        }
        let in_memory = usize::try_from(at.end - offset).unwrap_or(usize::MAX);
        if in_memory <= at.newest.len() {
            let mut bytes = 0;
            let waiting = at.newest.iter().skip(at.newest.len() - in_memory).take(TAKE_MESSAGES);
            let within = waiting.take_while(|delivery| {
                let first = bytes == 0;
                bytes += delivery.message.weight().max(1);
                first || bytes <= TAKE_BYTES
            });
            return Located::Memory(within.cloned().collect());
        }
        let holding = self.segments.iter().rposition(|segment| segment.base[partition] <= offset).unwrap_or(0);
        let end = self.end_of(holding, partition);
        Located::Disk { path: self.segments[holding].path.clone(), from, end }
    }

    fn remember(&mut self, delivery: Delivery) {
        let partition = delivery.position.partition as usize;
        self.newest = self.newest.max(record::micros(delivery.timestamp));
        self.remembered_bytes += weight(&delivery);
        self.remembered.push_back(partition);
        let at = &mut self.partitions[partition];
        at.end = delivery.position.offset + 1;
        at.newest.push_back(delivery);
    }

    fn forget_over(&mut self, limit: usize) {
        while self.remembered_bytes > limit {
            let Some(oldest) = self.remembered.pop_front().and_then(|at| self.partitions[at].newest.pop_front()) else {
                return;
            };
            self.remembered_bytes -= weight(&oldest);
        }
    }

    fn forget_first_segment(&mut self) -> Option<PathBuf> {
        let oldest = self.segments.pop_front()?;
        for partition in 0..self.partitions.len() {
            let earliest = self.earliest(partition);
            let at = &mut self.partitions[partition];
            let kept = usize::try_from(at.end - earliest).unwrap_or(0);
            // Dropped messages leave memory too. `locate` would not return them, since they are before `earliest`.
            while at.newest.len() > kept {
                let Some(delivery) = at.newest.pop_front() else { break };
                self.remembered_bytes -= weight(&delivery);
                if let Some(mark) = self.remembered.iter().position(|marked| *marked == partition) {
                    self.remembered.remove(mark);
                }
            }
        }
        Some(oldest.path)
    }
}

/// Size of a message in memory, with an estimate of its overhead.
fn weight(delivery: &Delivery) -> usize {
    delivery.message.weight() + 512
}

/// The contents of a topic's folder.
struct FolderContents {
    segments: Vec<Segment>,
    end: Vec<i64>,
    topic_id: Option<String>,
}

impl FolderContents {
    fn in_folder(directory: &Path, topic: &Topic) -> Result<Self, BusError> {
        let mut found =
            Self { segments: Vec::new(), end: vec![0; usize::try_from(topic.partitions).unwrap_or(0)], topic_id: None };
        for (number, path) in numbered_files(directory)? {
            let Some(contents) = segment::contents(&path)? else {
                // Created in advance and never used.
                segment::remove(&path)?;
                continue;
            };
            if contents.base.len() != found.end.len() {
                return Err(BusError::Fatal(format!(
                    "topic {} has {} partitions in {} and {} in topics.yaml; change topics.yaml back, or start with another \
                     SIGHTLINE_DATA_DIR",
                    topic.name,
                    contents.base.len(),
                    directory.display(),
                    found.end.len(),
                )));
            }
            if found.topic_id.as_ref().is_some_and(|topic_id| *topic_id != contents.topic_id) {
                return Err(BusError::Fatal(format!(
                    "{} does not belong to the same log as the other files in its folder; restore the folder from one backup",
                    path.display()
                )));
            }
            found.topic_id = Some(contents.topic_id);
            found.end = contents.end;
            found.segments.push(Segment {
                number,
                base: contents.base,
                newest: contents.newest,
                bytes: segment::disk_bytes(&path),
                sealed: segment::is_sealed(&path),
                path,
            });
        }
        Ok(found)
    }
}

/// The segments in a folder, oldest first.
pub fn numbered_files(directory: &Path) -> Result<Vec<(u64, PathBuf)>, BusError> {
    let mut numbered = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| super::unusable(directory, &error))? {
        let path = entry.map_err(|error| super::unusable(directory, &error))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(number), Some("db")) = (number, path.extension().and_then(|extension| extension.to_str())) {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered)
}
