//! The writer thread. Writes that wait when it begins a transaction share it, and so share one sync to disk.

use std::sync::Arc;
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::errors::OpenFile;
use crate::StoreError;

/// Maximum number of queued writes; further callers wait.
const QUEUE_CAPACITY: usize = 64;

/// Runs a write in the transaction, or gets the error if none could begin. Returns the reply to send after the commit: `Ok` if the
/// write succeeded, `Err` if it must be rolled back.
type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Result<Reply, Reply> + Send>;
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
        let job: Job = Box::new(move |connection| {
            let outcome = connection.and_then(work);
            let failed = outcome.is_err();
            let reply: Reply = Box::new(move |committed| {
                // The send fails if the caller stopped waiting, which is not an error.
                drop(sender.send(outcome.and_then(|value| committed.map(|()| value))));
            });
            if failed { Err(reply) } else { Ok(reply) }
        });
        let ended = || StoreError::Unavailable("the document database's thread has ended".to_owned());
        self.jobs.send(job).await.map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }
}

fn write_all(connection: &Connection, file: &OpenFile, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            let (Ok(reply) | Err(reply)) = first(Err(file.error(&error)));
            reply(Err(file.error(&error)));
            continue;
        }
        let replies = run_waiting(connection, first, &mut queue);
        let committed = connection.execute_batch("COMMIT");
        if committed.is_err() && !connection.is_autocommit() {
            // The replies below report why the commit failed. If the rollback fails too, the next BEGIN reports it.
            drop(connection.execute_batch("ROLLBACK"));
        }
        for reply in replies {
            reply(committed.as_ref().copied().map_err(|error| file.error(error)));
        }
    }
}

/// Runs `first` and the other queued jobs.
fn run_waiting(connection: &Connection, first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Reply> {
    let mut replies = vec![run(connection, first)];
    while replies.len() < QUEUE_CAPACITY
        && let Ok(job) = queue.try_recv()
    {
        replies.push(run(connection, job));
    }
    replies
}

/// Runs one job in a savepoint, so that a failure rolls back this job only.
fn run(connection: &Connection, job: Job) -> Reply {
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
