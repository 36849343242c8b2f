//! Whether a video file is whole: containers that say how long their parts are show it when the end is missing. FFmpeg takes such an end
//! for that of the video.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::video::Watch;

/// What an element of Matroska and WebM begins with.
const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
/// Kinds of boxes with which a file of MP4 or QuickTime begins.
const FIRST_BOXES: [&[u8]; 6] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"];
/// Most parts that are looked at. A recorder that writes no lengths has one for each frame.
const MOST_PARTS: usize = 10_000_000;

/// Bytes that the file should have at least, if it is shorter. `None` for a whole file, and for one that does not say it.
pub fn expected_length(path: &Path, watch: &Watch) -> Option<u64> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut file = Parts { file: BufReader::new(file), at: 0, length, watch };
    let beginning: [u8; 8] = file.bytes()?;
    file.go_to(0)?;
    if beginning.starts_with(&EBML.to_be_bytes()) {
        return file.end_of_matroska();
    }
    if FIRST_BOXES.contains(&&beginning[4..]) {
        return file.end_of_mp4();
    }
    if beginning.starts_with(b"RIFF") {
        return file.end_of_avi();
    }
    if beginning.starts_with(b"FLV") {
        return file.end_of_flv();
    }
    None
}

/// The parts of a file, one after the other.
struct Parts<'a> {
    file: BufReader<File>,
    at: u64,
    length: u64,
    watch: &'a Watch,
}

impl Parts<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).ok()?;
        self.at += N as u64;
        Some(bytes)
    }

    /// `None` also when the program stops: a slow disk takes minutes for millions of parts.
    fn go_to(&mut self, at: u64) -> Option<()> {
        self.watch.tick();
        if self.watch.is_stopped() {
            return None;
        }
        // What is near stays in the buffer.
        match i64::try_from(at).ok()?.checked_sub(i64::try_from(self.at).ok()?) {
            Some(by) => self.file.seek_relative(by).ok()?,
            None => drop(self.file.seek(SeekFrom::Start(at)).ok()?),
        }
        self.at = at;
        Some(())
    }

    /// Every element has its length before it, but for those of a recorder that could not go back to write it: they go on to the next one
    /// of their kind, so what is in them is looked at instead.
    fn end_of_matroska(&mut self) -> Option<u64> {
        for _ in 0..MOST_PARTS {
            if self.at >= self.length {
                return None;
            }
            let begins = self.at;
            let (Some(id), Some((size, is_known))) = (self.number(false), self.number(true)) else {
                // Cut within the head of an element.
                return (self.length - begins < 12).then_some(self.length + 1);
            };
            let (id, size) = (id.0, size);
            if is_known {
                let end = self.at.checked_add(size)?;
                if end > self.length {
                    return Some(end);
                }
                // What is behind the last one is no part of the video.
                if id == u64::from(SEGMENT) {
                    return None;
                }
                self.go_to(end)?;
            } else if ![SEGMENT, CLUSTER].map(u64::from).contains(&id) {
                return None;
            }
        }
        None
    }

    /// A number whose first bits say how long it is, with or without them; for a length also whether it is known. `None` at the end of the
    /// file, and for what is no number.
    fn number(&mut self, is_length: bool) -> Option<(u64, bool)> {
        let [first] = self.bytes()?;
        let more = first.leading_zeros();
        if more > if is_length { 7 } else { 3 } {
            return None;
        }
        let own = 0xff_u64 >> (more + 1);
        let mut number = if is_length { u64::from(first) & own } else { u64::from(first) };
        let mut is_known = u64::from(first) & own != own;
        for _ in 0..more {
            let [byte] = self.bytes()?;
            is_known |= byte != 0xff;
            number = number << 8 | u64::from(byte);
        }
        Some((number, is_known))
    }

    /// One list, and more of them in a large file, each with its length. A recorder that could not go back wrote none.
    fn end_of_avi(&mut self) -> Option<u64> {
        while self.at < self.length {
            let kind: [u8; 4] = self.bytes()?;
            let size = u32::from_le_bytes(self.bytes()?);
            if kind != *b"RIFF" || size == 0 || size == u32::MAX {
                return None;
            }
            let end = self.at + u64::from(size);
            if end > self.length {
                return Some(end);
            }
            // To an even place.
            self.go_to(end + end % 2)?;
        }
        None
    }

    /// Tags, each with its length before it and behind it.
    fn end_of_flv(&mut self) -> Option<u64> {
        self.go_to(5)?;
        let head = u32::from_be_bytes(self.bytes()?);
        self.go_to(u64::from(head).checked_add(4)?)?;
        for _ in 0..MOST_PARTS {
            if self.at >= self.length {
                return None;
            }
            let [_, high, middle, low] = self.bytes()?;
            let end = self.at + 7 + u64::from(u32::from_be_bytes([0, high, middle, low]));
            if end > self.length {
                return Some(end);
            }
            // The last length may be missing.
            self.go_to(end + 4)?;
        }
        None
    }

    /// Boxes with their length and kind.
    fn end_of_mp4(&mut self) -> Option<u64> {
        for _ in 0..MOST_PARTS {
            let begins = self.at;
            if begins >= self.length {
                return None;
            }
            let short = u32::from_be_bytes(self.bytes()?);
            let kind: [u8; 4] = self.bytes()?;
            let size = match short {
                // To the end of the file.
                0 => return None,
                1 => u64::from_be_bytes(self.bytes()?),
                short => u64::from(short),
            };
            // Behind the last box some recorders write what is none.
            if size < 8 || !kind.iter().all(|letter| letter.is_ascii_graphic() || *letter == b' ') {
                return None;
            }
            let end = begins.checked_add(size)?;
            if end > self.length {
                return Some(end);
            }
            self.go_to(end)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(content: &[u8]) -> Option<u64> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        expected_length(file.path(), &Watch::new(tokio_util::sync::CancellationToken::new()))
    }

    #[test]
    fn an_element_that_goes_on_behind_the_end_is_missing() {
        let head = [&EBML.to_be_bytes()[..], &[0x81, 0]].concat();
        let segment = [&head[..], &SEGMENT.to_be_bytes(), &[0x84, 0xec, 0x82, 1, 2]].concat();
        let length = segment.len() as u64;
        assert_eq!(expected(&segment), None);
        assert_eq!(expected(&[&segment[..], b"more"].concat()), None);
        for cut in 1..5 {
            assert_eq!(expected(&segment[..segment.len() - cut]), Some(length));
        }
        // Without lengths, as a recorder writes it that cannot go back.
        let unknown = |id: u32| [&id.to_be_bytes()[..], &[0x01], &[0xff; 7]].concat();
        let live = [&head[..], &unknown(SEGMENT), &unknown(CLUSTER), &[0xa3, 0x82, 1, 2, 0xa3, 0x82, 3, 4]].concat();
        assert_eq!(expected(&live), None);
        assert_eq!(expected(&live[..live.len() - 4]), None, "nobody can know");
        for cut in 1..4 {
            assert!(expected(&live[..live.len() - cut]).is_some(), "{cut}");
        }
    }

    #[test]
    fn a_box_that_goes_on_behind_the_end_is_missing() {
        let file =
            [&16_u32.to_be_bytes()[..], b"ftypisom....", &1_u32.to_be_bytes(), b"mdat", &20_u64.to_be_bytes(), b"1234"];
        let file = file.concat();
        assert_eq!(expected(&file), None);
        assert_eq!(expected(&file[..file.len() - 1]), Some(36));
        assert_eq!(expected(&[&file[..], &[0; 9]].concat()), None);
        assert_eq!(expected(b"text that is no video"), None);
    }

    #[test]
    fn a_list_and_a_tag_that_go_on_behind_the_end_are_missing() {
        let list = |size: u32| [&b"RIFF"[..], &size.to_le_bytes(), b"AVI 12345"].concat();
        assert_eq!(expected(&list(9)), None);
        assert_eq!(expected(&[&list(9)[..], &[0], &list(9)].concat()), None);
        assert_eq!(expected(&list(10)), Some(18));
        assert_eq!(expected(&list(0)), None, "a recorder that never went back");
        let video = [&b"FLV\x01\x01\0\0\0\x09\0\0\0\0"[..], b"\x09\0\0\x02\0\0\0\0\0\0\0ab\0\0\0\x0d"].concat();
        assert_eq!(expected(&video), None);
        assert_eq!(expected(&video[..video.len() - 5]), Some(26));
    }
}
