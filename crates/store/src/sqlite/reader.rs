//! A pool of read-only connections for queries on blocking threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::errors::store_error;
use crate::StoreError;

/// Number of connections, and so of concurrent reads; further reads wait.
const MAX_READERS: usize = 4;

pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        let mut idle = Vec::with_capacity(MAX_READERS);
        for _ in 0..MAX_READERS {
            let connection = super::connect(path)?;
            connection.pragma_update(None, "query_only", true).map_err(|error| store_error(path, &error))?;
            idle.push(connection);
        }
        Ok(Arc::new(Self { idle: Mutex::new(idle), permits: Arc::new(Semaphore::new(MAX_READERS)) }))
    }

    /// Runs `query` on a blocking thread. Each statement sees its own snapshot.
    pub(super) async fn read<T, Q>(self: &Arc<Self>, query: Q) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let ended = || StoreError::Unavailable("the document database's readers have ended".to_owned());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| ended())?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let connection = readers.idle().pop().ok_or_else(ended)?;
            let outcome = query(&connection);
            readers.idle().push(connection);
            drop(permit);
            outcome
        });
        reading.await.map_err(|_| ended())?
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // No code that can panic runs under this lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
