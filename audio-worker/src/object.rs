//! The file of a book as a source for code that blocks.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use sound::Ranged;
use store::{Media, MediaKey};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest wait for a range.
const LIMIT: Duration = Duration::from_secs(30);

/// A file in the media store.
#[derive(Clone)]
pub struct Object {
    media: Arc<dyn Media>,
    /// Its key, which no other file ever has.
    pub key: MediaKey,
    /// Its length.
    pub bytes: u64,
    /// Ends its reading. A file that stays open is read for one window after the other.
    cancelled: Arc<Mutex<CancellationToken>>,
}

impl Object {
    /// A file that is read until `cancelled`.
    pub fn new(media: Arc<dyn Media>, key: MediaKey, bytes: u64, cancelled: CancellationToken) -> Self {
        Self { media, key, bytes, cancelled: Arc::new(Mutex::new(cancelled)) }
    }

    /// From now on its sources are read until the token of `other`.
    pub fn read_like(&self, other: &Self) {
        let cancelled = other.cancelled().clone();
        *self.cancelled() = cancelled;
    }

    fn cancelled(&self) -> MutexGuard<'_, CancellationToken> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source for a blocking thread of this runtime. It holds two ranges of a few MiB.
    pub fn source(&self) -> Ranged<impl FnMut(Range<u64>) -> io::Result<Vec<u8>> + Send + use<>> {
        let (object, runtime) = (self.clone(), Handle::current());
        Ranged::new(self.bytes, move |range| runtime.block_on(object.read(range)))
    }

    async fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let cancelled = self.cancelled().clone();
        match cancelled.run_until_cancelled(timeout(LIMIT, self.whole(range))).await {
            Some(Ok(content)) => content,
            Some(Err(_)) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            None => Err(io::Error::other("nobody waits for the file any more")),
        }
    }

    async fn whole(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
        let Some(mut stream) = self.media.read(&self.key, range).await.map_err(io::Error::other)? else {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        };
        let mut content = Vec::with_capacity(length);
        while let Some(block) = stream.try_next().await.map_err(io::Error::other)? {
            if content.len() + block.len() > length {
                return Err(io::Error::other("the store returned more than the range"));
            }
            content.extend_from_slice(&block);
        }
        Ok(content)
    }
}
