//! The embedded log: a durable log inside the process, for one machine without servers.
//!
//! ```text
//! send ─▶ queue ─▶ writer (one thread per topic) ─▶ segment.db, segment.db, …  ─▶ maintenance: seal, drop
//!                     └▶ newest messages in memory ─▶ cursors of consumers and readers ◀─ older ones from segments
//!                                                        └ finished ─▶ InFlight ─▶ groups.db (every 200 ms)
//! ```
//!
//! Guarantees, beyond the seam: an acknowledged message survives kill -9, and with [`BusSync::Full`] a power failure; messages
//! that a group has not consumed are never dropped; one process uses a folder at a time; each group has one member. A folder
//! contains
//! `lock`, `groups.db` and a folder for each topic with one SQLite file for each segment. A topic that is missing in the
//! folder of an older version is created. `docs/decisions/embedded-log.md` explains the choice of SQLite and its settings,
//! with figures.

mod consumer;
mod disk_usage;
mod files;
mod folder_lock;
mod groups;
mod maintenance;
mod partitioner;
mod record;
mod segment;
mod settings;
mod topic;
mod topic_cursor;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use async_trait::async_trait;
use contracts::{Message, TopicRole, Topics};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::consumer::{EmbeddedConsumer, EmbeddedReader, Membership};
use self::disk_usage::DiskUsage;
pub use self::files::LogFiles;
pub use self::folder_lock::FolderLock;
use self::groups::{Groups, Joined};
use self::maintenance::Maintenance;
pub use self::settings::{BusSync, Options};
use self::topic::{Located, TopicLog};
use self::topic_cursor::TopicCursor;
use self::writer::{Queue, Writer};
use crate::seam::{Acknowledged, Bus, BusError, Consumer, ConsumerOptions, Producer, Range, Reader, Start};

/// A durable log in a folder. Dropping it closes it.
pub struct EmbeddedBus {
    folder: PathBuf,
    /// Those in use. They are a beginning of [`TopicRole::ALL`], so each is at the place of its role.
    topics: Vec<Arc<TopicLog>>,
    groups: Arc<Groups>,
    producer: Arc<EmbeddedProducer>,
    closed: CancellationToken,
    running: Arc<Mutex<Option<Running>>>,
}

/// Threads and the lock of an open log.
struct Running {
    writers: Vec<JoinHandle<()>>,
    maintenance: JoinHandle<()>,
    storer: JoinHandle<()>,
    stop_storer: Sender<()>,
    _lock: FolderLock,
}

struct EmbeddedProducer {
    /// Those in use, each at the place of its role.
    topics: Vec<(Arc<TopicLog>, Arc<Queue>)>,
}

impl EmbeddedBus {
    /// Opens the log in a folder, and creates what is missing. It reads the disk, so call it at start.
    ///
    /// # Errors
    /// When the folder cannot be written or belongs to another process, a file is damaged, or a topic's number of partitions has
    /// changed. Each message says what to do.
    pub fn open(folder: &Path, topics: &Topics, options: Options) -> Result<Self, BusError> {
        Self::open_locked(FolderLock::take(folder)?, topics, options)
    }

    /// As [`open`](Self::open), in a folder that this process has locked.
    ///
    /// # Errors
    /// As those of [`open`](Self::open).
    pub fn open_locked(lock: FolderLock, topics: &Topics, options: Options) -> Result<Self, BusError> {
        crate::log_defaulted(topics);
        let folder = lock.folder();
        let usage = Arc::new(DiskUsage::new(options.disk_limit));
        // Only whole segments are dropped, so the limit must be the size of many segments.
        let options = Options { segment_bytes: options.segment_bytes.min(options.disk_limit / 16), ..options };
        let mut logs = Vec::new();
        let mut appenders = Vec::new();
        for topic in topics.iter() {
            let options = options.for_topic(topic);
            let directory = folder.join(format!("{}.topic", topic.name));
            let (log, appender) = TopicLog::open(topic, directory, options, Arc::clone(&usage))?;
            logs.push(Arc::new(log));
            appenders.push(appender);
        }
        // New file names must survive a power failure too.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unusable(folder, &error))?;
        let groups = Arc::new(Groups::open(&LogFiles::groups_in(folder), options.sync, &logs)?);
        let queues: Vec<_> = logs.iter().map(|_| Arc::new(Queue::new(options))).collect();

        let (jobs, for_maintenance) = channel();
        let mut writers = Vec::new();
        for ((log, queue), appender) in logs.iter().zip(&queues).zip(appenders) {
            let (log, queue, usage, maintenance) =
                (Arc::clone(log), Arc::clone(queue), Arc::clone(&usage), jobs.clone());
            let (name, options) = (format!("bus-{}", log.role), options.for_topic(&log.topic));
            let writer = Writer { log, queue, usage, maintenance, options, appender };
            writers.push(start_thread(name, move || writer.run())?);
        }
        // Only the writers own a sender, so maintenance ends when they have ended.
        drop(jobs);
        let maintenance = Maintenance { topics: logs.clone(), groups: Arc::clone(&groups), usage, sync: options.sync };
        let maintenance = start_thread("bus-maintenance".to_owned(), move || maintenance.run(&for_maintenance))?;
        let (stop_storer, stopped): (_, Receiver<()>) = channel();
        let stored_groups = Arc::clone(&groups);
        let storer =
            start_thread("bus-groups".to_owned(), move || maintenance::store_groups(&stored_groups, &stopped))?;

        Ok(Self {
            folder: folder.to_owned(),
            producer: Arc::new(EmbeddedProducer { topics: logs.iter().cloned().zip(queues).collect() }),
            topics: logs,
            groups,
            closed: CancellationToken::new(),
            running: Arc::new(Mutex::new(Some(Running { writers, maintenance, storer, stop_storer, _lock: lock }))),
        })
    }

    /// Makes a group the successor of all others of a topic that have no member: they are deleted, and a new group begins at the
    /// earliest offset that one of them had not consumed. Returns their names. Retention waits for every group that ever joined, so a group that will not
    /// return must be deleted.
    ///
    /// # Errors
    /// When the file of groups cannot be written.
    pub async fn replace_groups(&self, role: TopicRole, successor: &str) -> Result<Vec<String>, BusError> {
        let (groups, log, successor) = (Arc::clone(&self.groups), Arc::clone(self.log(role)?), successor.to_owned());
        blocking(spawn_blocking(move || groups.replace(&log, &successor))).await
    }

    fn log(&self, role: TopicRole) -> Result<&Arc<TopicLog>, BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        self.topics.get(role as usize).ok_or_else(|| not_used(role))
    }

    /// [`Bus::close`] as a function to run on any thread.
    fn stopper(&self) -> impl FnOnce() -> Result<(), BusError> + Send + use<> {
        self.closed.cancel();
        self.producer.topics.iter().for_each(|(_, queue)| queue.close());
        let (running, groups, topics) = (Arc::clone(&self.running), Arc::clone(&self.groups), self.topics.clone());
        move || {
            let Some(running) = lock(&running).take() else { return Ok(()) };
            drop(running.stop_storer);
            let threads = running.writers.into_iter().chain([running.maintenance, running.storer]);
            let panicked = threads.map(JoinHandle::join).filter(Result::is_err).count();
            let stored = groups.store();
            groups.close();
            topics.iter().for_each(|log| log.close());
            stored?;
            if panicked > 0 {
                return Err(BusError::Fatal("a thread of the log panicked".to_owned()));
            }
            Ok(())
        }
    }
}

impl Drop for EmbeddedBus {
    fn drop(&mut self) {
        if let Err(error) = self.stopper()() {
            tracing::warn!(%error, "the log was not closed cleanly");
        }
    }
}

#[async_trait]
impl Bus for EmbeddedBus {
    fn describe(&self) -> String {
        format!("embedded in {}", self.folder.display())
    }

    fn topic(&self, role: TopicRole) -> &str {
        self.topics.get(role as usize).map_or(role.as_str(), |log| log.topic.name.as_str())
    }

    fn producer(&self) -> Arc<dyn Producer> {
        Arc::clone(&self.producer) as Arc<dyn Producer>
    }

    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError> {
        let log = Arc::clone(self.log(role)?);
        let (groups, name) = (Arc::clone(&self.groups), group.to_owned());
        let closed = self.closed.clone();
        blocking(spawn_blocking(move || {
            let Joined { group, member, start } = groups.join(&log, &name)?;
            Ok(Box::new(EmbeddedConsumer {
                unannounced: Some((0..log.topic.partitions).collect()),
                cursor: TopicCursor::new(log, start, closed.clone()),
                options,
                membership: Membership { groups, group, member },
                waiting: None,
                closed,
            }) as Box<dyn Consumer>)
        }))
        .await
    }

    async fn reader(&self, role: TopicRole, start: Start) -> Result<Box<dyn Reader>, BusError> {
        let log = Arc::clone(self.log(role)?);
        let closed = self.closed.clone();
        blocking(spawn_blocking(move || {
            let next = log.start(start)?;
            Ok(Box::new(EmbeddedReader(TopicCursor::new(log, next, closed))) as Box<dyn Reader>)
        }))
        .await
    }

    async fn reader_of(&self, role: TopicRole, ranges: &[Range]) -> Result<Box<dyn Reader>, BusError> {
        let log = Arc::clone(self.log(role)?);
        let next = ranges.iter().map(|range| range.earliest).collect();
        Ok(Box::new(EmbeddedReader(TopicCursor::new(log, next, self.closed.clone()))))
    }

    async fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError> {
        Ok(self.log(role)?.ranges())
    }

    async fn topic_id(&self, role: TopicRole) -> Result<String, BusError> {
        Ok(self.log(role)?.topic_id.clone())
    }

    async fn unconsumed(&self, role: TopicRole, group: &str) -> Result<Vec<Range>, BusError> {
        let committed = self.groups.stored(role, group).unwrap_or_default();
        let mut committed = committed.into_iter();
        Ok(self.log(role)?.ranges().into_iter().map(|range| range.unconsumed(committed.next())).collect())
    }

    async fn oldest_unconsumed(&self, role: TopicRole, group: &str) -> Result<Option<SystemTime>, BusError> {
        let log = Arc::clone(self.log(role)?);
        let next = self.groups.stored(role, group);
        blocking(spawn_blocking(move || oldest_after(&log, next))).await
    }

    async fn check(&self) -> Result<(), BusError> {
        self.log(TopicRole::Frames)?;
        self.topics.iter().find_map(|log| log.failure()).map_or(Ok(()), Err)
    }

    async fn close(&self) -> Result<(), BusError> {
        blocking(spawn_blocking(self.stopper())).await
    }
}

impl Producer for EmbeddedProducer {
    fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        let (log, queue) = self.topics.get(role as usize).ok_or_else(|| not_used(role))?;
        queue.push(&log.topic, message)
    }
}

/// The time of the oldest message at or after these offsets.
fn oldest_after(log: &TopicLog, next: Option<Vec<i64>>) -> Result<Option<SystemTime>, BusError> {
    let ranges = log.ranges();
    let next = next.unwrap_or_else(|| ranges.iter().map(|range| range.earliest).collect());
    let mut oldest = None;
    for (partition, offset) in next.into_iter().enumerate() {
        let time = loop {
            match log.locate_one(partition, offset) {
                Located::Memory(deliveries) => break deliveries.first().map(|delivery| delivery.timestamp),
                Located::Disk { path, from, end } => match segment::first_since(&path, from, end, i64::MIN) {
                    Ok(found) => break found.map(|(_, time)| record::system_time(time)),
                    // The segment was dropped in the meantime: the next iteration finds the messages after it.
                    Err(_) if !path.exists() => {}
                    Err(error) => return Err(error),
                },
                Located::Gap { .. } | Located::Nowhere => break None,
            }
        };
        oldest = [oldest, time].into_iter().flatten().min();
    }
    Ok(oldest)
}

/// The error for a topic that nobody opened.
fn not_used(role: TopicRole) -> BusError {
    BusError::Fatal(format!("the topic {role} is not in use; set SIGHTLINE_AUDIO=on"))
}

fn unusable(path: &Path, error: &std::io::Error) -> BusError {
    BusError::Fatal(format!(
        "cannot use {}: {error}; SIGHTLINE_DATA_DIR must name a folder that this user may write",
        path.display()
    ))
}

fn start_thread(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, BusError> {
    let started = thread::Builder::new().name(name).spawn(work);
    started.map_err(|error| BusError::Unavailable(format!("cannot start a thread of the log: {error}")))
}

/// The outcome of blocking work. It is lost only when the runtime stops or the work panics.
async fn blocking<T>(task: tokio::task::JoinHandle<Result<T, BusError>>) -> Result<T, BusError> {
    task.await.unwrap_or(Err(BusError::Closed))
}

/// Locks a mutex. The state is valid even after a panic, because no change is made in several steps under a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
