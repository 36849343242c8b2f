//! An object that is fetched in ranges, as `Read + Seek`.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// The first range at a new place.
const FIRST: u64 = 64 << 10;

/// The longest range. Sequential reading doubles the length up to it, so a whole object takes few requests.
const LONGEST: u64 = 4 << 20;

/// Reads an object through a callback that fetches a range of its bytes. The last two ranges stay in memory.
///
/// The callback returns exactly the bytes of the range, or an error, which ends the read.
pub struct Ranged<F> {
    bytes: u64,
    at: u64,
    fetch: F,
    last: Fetched,
    before: Fetched,
}

#[derive(Default)]
struct Fetched {
    start: u64,
    content: Vec<u8>,
}

impl Fetched {
    fn end(&self) -> u64 {
        self.start + self.content.len() as u64
    }

    /// The bytes from `at` on.
    fn from(&self, at: u64) -> Option<&[u8]> {
        let offset = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.content.get(offset..).filter(|rest| !rest.is_empty())
    }
}

impl<F: FnMut(Range<u64>) -> io::Result<Vec<u8>>> Ranged<F> {
    /// An object of `bytes` bytes.
    pub fn new(bytes: u64, fetch: F) -> Self {
        Self { bytes, at: 0, fetch, last: Fetched::default(), before: Fetched::default() }
    }

    fn fetch(&mut self) -> io::Result<()> {
        let continues = !self.last.content.is_empty() && self.last.end() == self.at;
        let wanted = if continues { (self.last.content.len() as u64 * 2).min(LONGEST) } else { FIRST };
        let range = self.at..self.at.saturating_add(wanted).min(self.bytes);
        let expected = range.end - range.start;
        let content = (self.fetch)(range)?;
        if content.len() as u64 != expected {
            return Err(io::Error::other("a range of the object has another length than asked for"));
        }
        self.before = std::mem::replace(&mut self.last, Fetched { start: self.at, content });
        Ok(())
    }
}

impl<F: FnMut(Range<u64>) -> io::Result<Vec<u8>>> Read for Ranged<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.at >= self.bytes {
            return Ok(0);
        }
        if self.last.from(self.at).is_none() && self.before.from(self.at).is_none() {
            self.fetch()?;
        }
        let there = self.last.from(self.at).or_else(|| self.before.from(self.at)).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl<F> Seek for Ranged<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.at.checked_add_signed(delta),
            SeekFrom::End(delta) => self.bytes.checked_add_signed(delta),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Vec<u8> {
        (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn a_ranged_object_reads_as_its_bytes_with_few_requests() {
        let content = content();
        let mut requests = 0;
        let mut ranged = Ranged::new(content.len() as u64, |range| {
            requests += 1;
            Ok(content[range.start as usize..range.end as usize].to_vec())
        });
        let mut read = Vec::new();
        ranged.read_to_end(&mut read).unwrap();
        assert_eq!(read, content);
        ranged.seek(SeekFrom::End(-3)).unwrap();
        let mut tail = Vec::new();
        ranged.read_to_end(&mut tail).unwrap();
        assert_eq!(tail, content[content.len() - 3..]);
        drop(ranged);
        assert!(requests < 12, "{requests} requests");
    }

    #[test]
    fn a_range_of_another_length_is_an_error() {
        let mut ranged = Ranged::new(100, |_| Ok(vec![0; 7]));
        assert!(ranged.read(&mut [0; 10]).is_err());
    }
}
