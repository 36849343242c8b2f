//! The bytes of a file, for several readers at once: each has its own position, and none reads past its allowance.
//!
//! A demuxer takes its source away and hides the errors of reading. So the source is shared and remembers its first failure. The
//! allowance bounds what one call of a demuxer may read: demuxers allocate as they read, so it bounds their memory, too.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symphonia::core::io::MediaSource;

use crate::error::{Refusal, SoundError};

/// The most that opening a container may read: the index of a file of 48 hours and its pictures.
pub(crate) const OPENING: u64 = 128 << 20;

/// The most that reading one packet may read.
pub(crate) const PACKET: u64 = 64 << 20;

trait Bytes: Read + Seek + Send {}

impl<T: Read + Seek + Send> Bytes for T {}

struct Shared {
    bytes: Box<dyn Bytes>,
    /// Where `bytes` stands, if known.
    at: Option<u64>,
    allowance: u64,
    exhausted: bool,
    failure: Option<io::Error>,
}

/// A reader of a part of the file, with a position of its own.
#[derive(Clone)]
pub(crate) struct Source {
    shared: Arc<Mutex<Shared>>,
    start: u64,
    end: u64,
    at: u64,
    /// Where four bytes read as `free`: boxes of an MP4 that the demuxer must not see.
    hidden: Arc<[u64]>,
}

impl Source {
    pub(crate) fn new(bytes: impl Read + Seek + Send + 'static, length: u64) -> Self {
        let shared = Shared { bytes: Box::new(bytes), at: None, allowance: u64::MAX, exhausted: false, failure: None };
        Self { shared: Arc::new(Mutex::new(shared)), start: 0, end: length, at: 0, hidden: Arc::from([]) }
    }

    /// The rest of the file from `offset` on, as a file of its own.
    pub(crate) fn rest(&self, offset: u64) -> Self {
        let start = self.start.saturating_add(offset).min(self.end);
        Self { start, at: 0, hidden: Arc::from([]), ..self.clone() }
    }

    /// The same bytes from the start, but for the types of the boxes at these positions.
    pub(crate) fn hiding(&self, positions: Vec<u64>) -> Self {
        Self { at: 0, hidden: positions.into(), ..self.clone() }
    }

    /// Length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.end - self.start
    }

    /// Moves the position, at most to the end.
    pub(crate) fn go_to(&mut self, offset: u64) {
        self.at = offset.min(self.length());
    }

    /// Sets how much may be read until the next call.
    pub(crate) fn allow(&self, bytes: u64) {
        self.shared().allowance = bytes;
    }

    /// Fills the buffer from `offset` as far as the file goes. Returns the number of bytes.
    pub(crate) fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.go_to(offset);
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// What went wrong with the bytes: a failure of the source, or a part that is longer than its allowance.
    pub(crate) fn failure(&self) -> Option<SoundError> {
        let mut shared = self.shared();
        if let Some(error) = shared.failure.take() {
            return Some(SoundError::Source(error));
        }
        shared.exhausted.then(|| Refusal::damaged("a part of it is too long").into())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hide(&self, buffer: &mut [u8]) {
        for position in self.hidden.iter() {
            for (index, byte) in b"free".iter().enumerate() {
                let place =
                    (position + index as u64).checked_sub(self.at).and_then(|place| usize::try_from(place).ok());
                if let Some(target) = place.and_then(|place| buffer.get_mut(place)) {
                    *target = *byte;
                }
            }
        }
    }
}

impl Shared {
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(allowance) = self.allowance.checked_sub(buffer.len() as u64) else {
            self.exhausted = true;
            return Err(io::Error::other("more is read than a part may have"));
        };
        self.allowance = allowance;
        match self.try_read(at, buffer) {
            Ok(count) => {
                self.at = Some(at + count as u64);
                Ok(count)
            }
            Err(error) => {
                self.at = None;
                let seen = io::Error::from(error.kind());
                self.failure.get_or_insert(error);
                Err(seen)
            }
        }
    }

    fn try_read(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at != Some(at) {
            self.bytes.seek(SeekFrom::Start(at))?;
        }
        loop {
            match self.bytes.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length().saturating_sub(self.at);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..wanted];
        let count = self.shared().read_at(self.start + self.at, buffer)?;
        self.hide(&mut buffer[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.at.checked_add_signed(delta),
            SeekFrom::End(delta) => self.length().checked_add_signed(delta),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn digits() -> Source {
        Source::new(Cursor::new(b"0123456789".to_vec()), 10)
    }

    #[test]
    fn readers_of_one_source_have_their_own_positions() {
        let mut whole = digits();
        let mut rest = whole.rest(6);
        let mut buffer = [0; 4];
        assert_eq!(whole.read(&mut buffer).unwrap(), 4);
        assert_eq!(rest.read_at(1, &mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"789");
        assert_eq!(whole.read(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"4567");
    }

    #[test]
    fn a_hidden_box_reads_as_free_however_it_is_cut() {
        for cut in 1..10 {
            let mut source = digits().hiding(vec![3]);
            let mut text = vec![0; 10];
            let (first, second) = text.split_at_mut(cut);
            source.read_exact(first).unwrap();
            source.read_exact(second).unwrap();
            assert_eq!(text, b"012free789");
        }
    }

    #[test]
    fn more_than_the_allowance_is_not_read() {
        let mut source = digits();
        source.allow(4);
        let mut buffer = [0; 5];
        assert!(source.read(&mut buffer).is_err());
        assert_eq!(source.failure().unwrap().refusal().unwrap().code(), "damaged");
    }

    #[test]
    fn a_failure_of_the_source_is_remembered() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("no network"))
            }
        }
        impl Seek for Broken {
            fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
                Ok(0)
            }
        }
        let mut source = Source::new(Broken, 10);
        assert!(source.read(&mut [0; 4]).is_err());
        let failure = source.failure().unwrap();
        assert!(failure.refusal().is_none());
        assert_eq!(std::error::Error::source(&failure).unwrap().to_string(), "no network");
    }
}
