//! The one thread that writes: what is waiting when it begins goes into one transaction, so that many small writes share
//! one flush to the disk.

use std::path::{Path, PathBuf};
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::errors::store_error;
use crate::StoreError;

/// Writes that may wait; more make their callers wait.
const QUEUE_CAPACITY: usize = 64;

/// Runs in the transaction, if there is one; hands back what to do once it is known whether that was committed.
type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Result<Reply, Reply> + Send>;
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The handle of the writing thread, which ends when its last handle is gone.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection, path: PathBuf) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE_CAPACITY);
        let run = move || write_all(&connection, &path, queue);
        thread::Builder::new()
            .name("documents".to_owned())
            .spawn(run)
            .map_err(|error| StoreError::Unavailable(format!("no thread for the document database: {error}")))?;
        Ok(Self { jobs })
    }

    /// Runs `work` in a transaction and returns what it returns once that is on the disk. Work that fails leaves nothing.
    /// Once begun the work is done even if the caller no longer waits.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = connection.and_then(work);
            let failed = outcome.is_err();
            let answer: Reply = Box::new(move |committed| {
                // A caller that no longer waits is no failure.
                drop(reply.send(outcome.and_then(|value| committed.map(|()| value))));
            });
            if failed { Err(answer) } else { Ok(answer) }
        });
        let ended = || StoreError::Unavailable("the document database's thread has ended".to_owned());
        self.jobs.send(job).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

fn write_all(connection: &Connection, path: &Path, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            let (Ok(answer) | Err(answer)) = first(Err(store_error(path, &error)));
            answer(Err(store_error(path, &error)));
            continue;
        }
        let answers = run_waiting(connection, first, &mut queue);
        let committed = connection.execute_batch("COMMIT");
        if committed.is_err() && !connection.is_autocommit() {
            // Why it could not be committed is told below; should this fail too, the next BEGIN says so.
            drop(connection.execute_batch("ROLLBACK"));
        }
        for answer in answers {
            answer(committed.as_ref().copied().map_err(|error| store_error(path, error)));
        }
    }
}

/// Runs `first` and what else is waiting by now.
fn run_waiting(connection: &Connection, first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Reply> {
    let mut answers = vec![run(connection, first)];
    while answers.len() < QUEUE_CAPACITY
        && let Ok(job) = queue.try_recv()
    {
        answers.push(run(connection, job));
    }
    answers
}

/// One job, undone alone when it fails.
fn run(connection: &Connection, job: Job) -> Reply {
    // A full disk ends the whole transaction inside a job: the marks below then fail, and so does the commit.
    drop(connection.execute_batch("SAVEPOINT job"));
    match job(Ok(connection)) {
        Ok(answer) => {
            drop(connection.execute_batch("RELEASE job"));
            answer
        }
        Err(answer) => {
            drop(connection.execute_batch("ROLLBACK TO job; RELEASE job"));
            answer
        }
    }
}
