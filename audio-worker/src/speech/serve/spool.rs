//! The file of a request: written to a temporary file without a name as it arrives, and read by several readers.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;

/// A file while it arrives.
pub(super) struct Spool {
    file: tokio::fs::File,
    bytes: u64,
}

/// A file that has arrived. It is gone when the last reader is.
#[derive(Debug, Clone)]
pub(super) struct Spooled {
    file: Arc<File>,
    bytes: u64,
}

/// Reads it from its start, with a position of its own.
#[derive(Debug)]
pub(super) struct SpoolReader {
    spooled: Spooled,
    at: u64,
}

impl Spool {
    /// An empty file.
    pub async fn begin() -> io::Result<Self> {
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await.map_err(io::Error::other)??;
        Ok(Self { file: tokio::fs::File::from_std(file), bytes: 0 })
    }

    /// Appends bytes.
    pub async fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.bytes += chunk.len() as u64;
        self.file.write_all(chunk).await
    }

    /// All bytes are there.
    pub async fn finish(mut self) -> io::Result<Spooled> {
        // A write returns before its bytes are in the file.
        self.file.flush().await?;
        Ok(Spooled { file: Arc::new(self.file.into_std().await), bytes: self.bytes })
    }
}

impl Spooled {
    /// Its length.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A reader at the start.
    pub fn reader(&self) -> SpoolReader {
        SpoolReader { spooled: self.clone(), at: 0 }
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.spooled.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for SpoolReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.spooled.bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a position before the start"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_have_positions_of_their_own() {
        let mut spool = Spool::begin().await.unwrap();
        spool.push(b"the first ").await.unwrap();
        spool.push(b"and the last").await.unwrap();
        let spooled = spool.finish().await.unwrap();
        assert_eq!(spooled.bytes(), 22);
        let (mut all, mut end) = (String::new(), String::new());
        let (mut first, mut second) = (spooled.reader(), spooled.reader());
        drop(spooled);
        assert_eq!(second.seek(SeekFrom::End(-4)).unwrap(), 18);
        first.read_to_string(&mut all).unwrap();
        second.read_to_string(&mut end).unwrap();
        assert_eq!((&*all, &*end), ("the first and the last", "last"));
        assert!(second.seek(SeekFrom::Current(-23)).is_err());
    }
}
