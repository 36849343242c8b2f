//! The frames of an MPEG stream one by one, over damage and junk.

use std::io;

use super::header::Header;
use crate::source::Source;
use crate::window::Window;

/// How many bytes may stand before the first frame.
const MAX_JUNK: u64 = 64 << 10;

/// How many frames in a row make a stream.
const CHAIN: usize = 4;

/// A reader of frames.
pub(crate) struct Frames {
    window: Window,
    first: Header,
    /// Length of the frame that [`Frames::advance`] returned last.
    current: usize,
    /// Whether the last frame ended where the next one must begin.
    in_step: bool,
    /// How many frames had room in the damage before the frame that was returned last.
    lost: u64,
}

impl Frames {
    /// The frames from `offset` on that are like `first`.
    pub(crate) fn new(source: Source, offset: u64, first: Header) -> Self {
        Self { window: Window::new(source, offset), first, current: 0, in_step: true, lost: 0 }
    }

    /// The next frame, or none at the end. Half a frame at the end is none.
    pub(crate) fn advance(&mut self) -> io::Result<Option<Header>> {
        self.window.skip(std::mem::take(&mut self.current));
        let step = self.window.offset();
        // Files that were joined have a tag here; no frame was lost.
        let tag = starts_with_tag(self.window.peek(3)?);
        while let Some(word) = self.window.word()? {
            if let Some(header) = Header::parse(word).filter(|header| header.follows(&self.first)) {
                let ahead = self.window.peek(header.bytes + 4)?;
                let whole = ahead.len() >= header.bytes;
                if whole && (self.in_step || is_followed(ahead, &header)) {
                    let (skipped, length) = (self.window.offset() - step, header.bytes as u64);
                    self.lost = if tag { 0 } else { (skipped + length / 2) / length };
                    self.in_step = true;
                    self.current = header.bytes;
                    return Ok(Some(header));
                }
            }
            self.in_step = false;
            self.window.skip_to_sync()?;
        }
        Ok(None)
    }

    /// The bytes of the frame that was returned last.
    pub(crate) fn bytes(&mut self) -> io::Result<&[u8]> {
        self.window.peek(self.current)
    }

    /// How many frames like it were lost before the frame that was returned last.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Where the frame that was returned last begins.
    pub(crate) fn offset(&self) -> u64 {
        self.window.offset()
    }
}

/// Whether a like frame or the end of the file follows.
fn is_followed(ahead: &[u8], header: &Header) -> bool {
    match ahead.get(header.bytes..) {
        Some([]) => true,
        Some(rest) => rest.first_chunk().and_then(|word| Header::parse(*word)).is_some_and(|next| next.follows(header)),
        None => false,
    }
}

fn starts_with_tag(bytes: &[u8]) -> bool {
    [b"TAG".as_slice(), b"APE", b"ID3"].iter().any(|tag| bytes.starts_with(tag))
}

/// The first frame of a stream and its position, if the file begins with one after at most [`MAX_JUNK`] bytes.
pub(crate) fn find(source: &Source) -> io::Result<Option<(Header, u64)>> {
    let mut window = Window::new(source.clone(), 0);
    while window.offset() < MAX_JUNK {
        let Some(word) = window.word()? else { return Ok(None) };
        if let Some(header) = Header::parse(word) {
            let offset = window.offset();
            if is_stream(window.peek(CHAIN * Header::LONGEST)?, &header, offset == 0) {
                return Ok(Some((header, offset)));
            }
        }
        window.skip_to_sync()?;
    }
    Ok(None)
}

/// Whether frames stand in a row here: four, or fewer in a file that ends after them.
fn is_stream(bytes: &[u8], first: &Header, at_start: bool) -> bool {
    let fewest = if at_start { 1 } else { 2 };
    let (mut at, mut count) = (0, 0);
    while count < CHAIN {
        let Some(rest) = bytes.get(at..) else {
            // The last frame is cut.
            return count > fewest;
        };
        let Some(word) = rest.first_chunk() else { return count >= fewest };
        match Header::parse(*word).filter(|header| header.follows(first)) {
            Some(header) => at += header.bytes,
            None => return count >= 2 && starts_with_tag(rest),
        }
        count += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::samples::silent_mp3;

    fn source(bytes: &[u8]) -> Source {
        Source::new(Cursor::new(bytes.to_vec()), bytes.len() as u64)
    }

    fn count(bytes: &[u8]) -> usize {
        let Some((first, offset)) = find(&source(bytes)).unwrap() else { return 0 };
        let mut frames = Frames::new(source(bytes), offset, first);
        let mut count = 0;
        while let Some(header) = frames.advance().unwrap() {
            assert_eq!(frames.bytes().unwrap().len(), header.bytes);
            count += 1;
        }
        count
    }

    #[test]
    fn every_frame_is_found_over_damage() {
        let whole = silent_mp3(100);
        assert_eq!(count(&whole), 100);
        let mut junk = vec![0xff; 5000];
        junk.extend_from_slice(&whole);
        assert_eq!(count(&junk), 100, "junk before the first frame");
        let mut damaged = whole.clone();
        let half = damaged.len() / 2;
        damaged.splice(half..half + 100, [0xff; 333]);
        assert!((98..100).contains(&count(&damaged)), "damage in the middle");
        assert_eq!(count(&whole[..whole.len() - 10]), 99, "half a frame at the end");
    }

    #[test]
    fn bytes_that_are_no_frames_are_no_stream() {
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&vec![0xff; 200_000]), 0);
        assert_eq!(count(&vec![0; 200_000]), 0);
        assert_eq!(count("a text, not a sound".repeat(10_000).as_bytes()), 0);
        let mut far = vec![0; 70_000];
        far.extend_from_slice(&silent_mp3(100));
        assert_eq!(count(&far), 0, "too much junk");
    }
}
