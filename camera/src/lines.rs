//! Lines of another process, which may not be trusted any more.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Longest line in bytes. A state is some hundred, and an error in it is shortened to 500 characters.
const LONGEST: usize = 16 * 1024;

/// Lines of bounded length.
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The lines of this input.
    pub const fn new(input: R) -> Self {
        Self { input, line: Vec::new() }
    }

    /// The next line; `None` at the end. A line without an end counts as none. Cancel-safe.
    ///
    /// # Errors
    /// When the line is too long.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            // A process that is gone has no further lines.
            let Ok(bytes @ [_, ..]) = self.input.fill_buf().await else { return Ok(None) };
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > LONGEST {
                return Err(io::Error::other("the line is too long"));
            }
            self.line.extend_from_slice(part);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_arrive_whole_and_a_longer_one_is_an_error() {
        let longest = "x".repeat(LONGEST);
        let text = format!("one\n\n{longest}\nrest");
        // Buffers smaller than a line.
        let mut lines = Lines::new(BufReader::with_capacity(7, text.as_bytes()));
        for expected in ["one", "", &longest] {
            assert_eq!(lines.next().await.unwrap().as_deref(), Some(expected.as_bytes()));
        }
        assert_eq!(lines.next().await.unwrap(), None, "a line without an end");
        let mut endless = Lines::new(BufReader::new(tokio::io::repeat(b'x')));
        assert!(endless.next().await.is_err());
        assert!(endless.line.capacity() <= 2 * LONGEST);
    }
}
