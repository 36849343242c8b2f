//! Reads a range of a file block by block. The first block is read when the file is opened, the others as the reader asks for them.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{Failed, Folder};
use crate::StoreError;
use crate::media::MediaStream;

/// Maximum number of bytes of a block: what one reader holds. One who wants to hold less asks for shorter ranges, which are one block each.
const BLOCK: u64 = 512 << 10;

/// What is left of a range. The file stays readable if it is deleted meanwhile.
pub(super) struct Reader {
    file: File,
    at: u64,
    end: u64,
}

/// Opens a file at a range, with its first block; `None` if there is no file. The range ends with the file.
pub(super) fn open(file: &Path, range: &Range<u64>) -> Result<Option<(Reader, Bytes)>> {
    let file = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let end = range.end.min(file.metadata()?.len());
    let mut reader = Reader { file, at: range.start.min(end), end };
    let first = reader.block()?;
    Ok(Some((reader, first)))
}

impl Reader {
    /// The next block; empty at the end.
    fn block(&mut self) -> Result<Bytes> {
        let length = BLOCK.min(self.end - self.at);
        // At most 512 KiB.
        let mut block = vec![0; length as usize];
        self.file.read_exact_at(&mut block, self.at)?;
        self.at += length;
        Ok(block.into())
    }

    /// The blocks, of which the first is there.
    pub(super) fn stream(self, folder: Arc<Folder>, first: Bytes) -> MediaStream {
        let state = (self, folder, Some(first));
        let blocks = stream::try_unfold(state, |(reader, folder, ready)| async move {
            let (reader, block) = match ready {
                Some(block) => (reader, block),
                None => next_block(reader, &folder).await?,
            };
            Ok::<_, StoreError>((!block.is_empty()).then_some((block, (reader, folder, None))))
        });
        blocks.boxed()
    }
}

async fn next_block(mut reader: Reader, folder: &Folder) -> std::result::Result<(Reader, Bytes), StoreError> {
    // Without a change of threads at the end.
    if reader.at == reader.end {
        return Ok((reader, Bytes::new()));
    }
    let read = tokio::task::spawn_blocking(move || {
        let block = reader.block()?;
        Ok::<_, std::io::Error>((reader, block))
    });
    match read.await {
        Ok(read) => read.map_err(|error| folder.told("reading an object", Failed::Io(error))),
        Err(error) => Err(StoreError::Unavailable(format!("reading an object was interrupted: {error}"))),
    }
}
