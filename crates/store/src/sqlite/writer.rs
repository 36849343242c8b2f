//! The writer thread. Writes that wait when it begins a transaction share it, and so share one sync to disk.

use std::sync::Arc;
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::errors::OpenFile;
use crate::StoreError;

/// Maximum number of queued writes; further callers wait.
const QUEUE_CAPACITY: usize = 64;

/// What the thread does.
enum Job {
    Write(Write),
    /// Between two transactions, because none may be open.
    EmptyJournal(oneshot::Sender<Result<bool, StoreError>>),
}

/// Runs a write in the transaction, or gets the error if none could begin. Returns the reply to send after the commit: `Ok` if the
/// write succeeded, `Err` if it must be rolled back.
type Write = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Result<Reply, Reply> + Send>;
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Handle of the writer thread. The thread ends when the handle is dropped.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection, file: Arc<OpenFile>) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE_CAPACITY);
        let run = move || write_all(&connection, &file, queue);
        thread::Builder::new()
            .name("documents".to_owned())
            .spawn(run)
            .map_err(|error| StoreError::Unavailable(format!("no thread for the document database: {error}")))?;
        Ok(Self { jobs })
    }

    /// Runs `work` in a transaction and returns its value after the sync to disk. Failed work is rolled back. Work that has
    /// begun completes even if the caller stops waiting.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Write = Box::new(move |connection| {
            let outcome = connection.and_then(work);
            let failed = outcome.is_err();
            let reply: Reply = Box::new(move |committed| {
                // The send fails if the caller stopped waiting, which is not an error.
                drop(sender.send(outcome.and_then(|value| committed.map(|()| value))));
            });
            if failed { Err(reply) } else { Ok(reply) }
        });
        self.jobs.send(Job::Write(job)).await.map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }

    /// Empties the journal after the writes that wait now; `false` if a reader held it up.
    pub(super) async fn empty_journal(&self) -> Result<bool, StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.jobs.send(Job::EmptyJournal(sender)).await.map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("the document database's thread has ended".to_owned())
}

fn write_all(connection: &Connection, file: &OpenFile, mut queue: mpsc::Receiver<Job>) {
    let mut next = None;
    while let Some(job) = next.take().or_else(|| queue.blocking_recv()) {
        match job {
            Job::Write(first) => next = write_waiting(connection, file, first, &mut queue),
            Job::EmptyJournal(reply) => {
                let emptied = super::empty_journal(connection).map_err(|error| file.error(&error));
                // The send fails if the caller stopped waiting, which is not an error.
                drop(reply.send(emptied));
            }
        }
    }
}

/// Runs `first` and the queued writes in one transaction. Returns the job that ended them, if it is another one.
fn write_waiting(
    connection: &Connection,
    file: &OpenFile,
    first: Write,
    queue: &mut mpsc::Receiver<Job>,
) -> Option<Job> {
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        let (Ok(reply) | Err(reply)) = first(Err(file.error(&error)));
        reply(Err(file.error(&error)));
        return None;
    }
    let (replies, next) = run_waiting(connection, first, queue);
    let committed = connection.execute_batch("COMMIT");
    if committed.is_err() && !connection.is_autocommit() {
        // The replies below report why the commit failed. If the rollback fails too, the next BEGIN reports it.
        drop(connection.execute_batch("ROLLBACK"));
    }
    for reply in replies {
        reply(committed.as_ref().copied().map_err(|error| file.error(error)));
    }
    next
}

/// Runs `first` and the other queued writes, up to a job that is none.
fn run_waiting(connection: &Connection, first: Write, queue: &mut mpsc::Receiver<Job>) -> (Vec<Reply>, Option<Job>) {
    let mut replies = vec![run(connection, first)];
    while replies.len() < QUEUE_CAPACITY
        && let Ok(job) = queue.try_recv()
    {
        match job {
            Job::Write(write) => replies.push(run(connection, write)),
            Job::EmptyJournal(_) => return (replies, Some(job)),
        }
    }
    (replies, None)
}

/// Runs one job in a savepoint, so that a failure rolls back this job only.
fn run(connection: &Connection, job: Write) -> Reply {
    // A full disk rolls back the whole transaction; the savepoint statements and the commit then fail.
    drop(connection.execute_batch("SAVEPOINT job"));
    match job(Ok(connection)) {
        Ok(reply) => {
            drop(connection.execute_batch("RELEASE job"));
            reply
        }
        Err(reply) => {
            drop(connection.execute_batch("ROLLBACK TO job; RELEASE job"));
            reply
        }
    }
}
