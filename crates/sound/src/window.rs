//! A look ahead into the bytes of a file: what is next, without taking it.

use std::io::{self, Read};

use crate::source::Source;

/// How much is read at once.
const BLOCK: usize = 64 << 10;

/// The bytes from a position on.
pub(crate) struct Window {
    source: Source,
    buffer: Vec<u8>,
    /// How much of the buffer is already taken.
    taken: usize,
    /// Position in the file of the first byte that is not taken.
    offset: u64,
}

impl Window {
    pub(crate) fn new(mut source: Source, offset: u64) -> Self {
        source.go_to(offset);
        Self { source, buffer: Vec::new(), taken: 0, offset }
    }

    /// Position of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes: `wanted` of them, fewer at the end of the file.
    pub(crate) fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.taken < wanted {
            self.fill(wanted)?;
        }
        let end = self.buffer.len().min(self.taken + wanted);
        Ok(&self.buffer[self.taken..end])
    }

    /// The next four bytes, unless the file ends within them.
    pub(crate) fn word(&mut self) -> io::Result<Option<[u8; 4]>> {
        Ok(self.peek(4)?.first_chunk().copied())
    }

    /// Takes bytes that were looked at.
    pub(crate) fn skip(&mut self, count: usize) {
        let count = count.min(self.buffer.len() - self.taken);
        self.taken += count;
        self.offset += count as u64;
    }

    /// Takes the next byte, and what follows it up to the next byte of all ones, with which MPEG frames begin.
    pub(crate) fn skip_to_sync(&mut self) -> io::Result<()> {
        let next = self.peek(4096)?;
        let junk = next.iter().skip(1).position(|byte| *byte == 0xff).map_or(next.len(), |place| place + 1);
        self.skip(junk);
        Ok(())
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        while self.buffer.len() < wanted {
            let old = self.buffer.len();
            self.buffer.resize(old + BLOCK, 0);
            let count = self.source.read(&mut self.buffer[old..]);
            self.buffer.truncate(old + *count.as_ref().unwrap_or(&0));
            if count? == 0 {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_window_shows_every_byte_once() {
        let content: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let mut window = Window::new(Source::new(Cursor::new(content.clone()), content.len() as u64), 0);
        let mut seen = Vec::new();
        while let Some(word) = window.word().unwrap() {
            let ahead = window.peek(5000).unwrap().to_vec();
            assert_eq!(ahead[..4], word);
            seen.extend_from_slice(&ahead[..ahead.len().min(777)]);
            window.skip(777);
            assert_eq!(window.offset(), seen.len() as u64);
        }
        assert_eq!(seen, content[..seen.len()]);
        assert!(content.len() - seen.len() < 4);
    }
}
