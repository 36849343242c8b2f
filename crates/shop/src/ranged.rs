//! An object of the media store as a source that blocks, for the code that reads audio files.

use std::io;
use std::ops::Range;
use std::time::Duration;

use futures::TryStreamExt;
use sound::Ranged;
use store::{Media, MediaKey};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::Shop;

impl Shop {
    /// A source for a blocking thread. It holds two ranges of a few MiB. It fails when the store does not answer, and when the shop stops.
    pub(crate) fn source(
        &self,
        key: &MediaKey,
        bytes: u64,
    ) -> Ranged<impl FnMut(Range<u64>) -> io::Result<Vec<u8>> + Send + use<>> {
        let (media, key, limit) = (self.media().clone(), *key, self.0.timing.block);
        let (stopping, runtime) = (self.0.stopping.clone(), Handle::current());
        Ranged::new(bytes, move |range| {
            let read = stopping.run_until_cancelled(read(media.as_ref(), &key, range, limit));
            runtime.block_on(read).unwrap_or_else(|| Err(io::Error::other("the shop stops")))
        })
    }
}

/// The bytes of a range.
async fn read(media: &dyn Media, key: &MediaKey, range: Range<u64>, limit: Duration) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let whole = async {
        let Some(mut stream) = media.read(key, range).await.map_err(io::Error::other)? else {
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
    };
    match timeout(limit, whole).await {
        Ok(content) => content,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}
