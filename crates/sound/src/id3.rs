//! ID3v2 tags before the sound: their length, and title and artist in them.

use std::io;

use crate::sound::{Tags, tag_text};
use crate::source::Source;

/// How much of a tag is read. Pictures come later or are longer.
const READ: usize = 64 << 10;

/// No file has more tags in a row.
const MAX_TAGS: usize = 8;

/// The position after all tags at the start, and the texts of the first tag that has them.
pub(crate) fn read(source: &mut Source) -> io::Result<(u64, Tags)> {
    let mut offset = 0;
    let mut tags = Tags::default();
    for _ in 0..MAX_TAGS {
        let mut head = [0; 10];
        if source.read_at(offset, &mut head)? < head.len() {
            break;
        }
        let Some(length) = length(&head) else { break };
        if tags == Tags::default() {
            let mut body = vec![0; READ.min(length)];
            let there = source.read_at(offset + 10, &mut body)?;
            tags = texts(head[3], body.get(..there).unwrap_or_default());
        }
        let footer = if head[5] & 0x10 == 0 { 0 } else { 10 };
        offset += 10 + length as u64 + footer;
    }
    Ok((offset.min(source.length()), tags))
}

/// The length of the tag after its head.
fn length(head: &[u8; 10]) -> Option<usize> {
    let [b'I', b'D', b'3', version, _, _, size @ ..] = head else { return None };
    if !(2..=4).contains(version) || size.iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    Some(size.iter().fold(0, |length, byte| length << 7 | usize::from(*byte)))
}

fn texts(version: u8, body: &[u8]) -> Tags {
    let mut tags = Tags::default();
    let mut rest = body;
    while let Some((name, content, after)) = frame(version, rest) {
        match name {
            b"TIT2" | b"TT2" => tags.title = tags.title.or_else(|| text(content)),
            b"TPE1" | b"TP1" => tags.artist = tags.artist.or_else(|| text(content)),
            _ => {}
        }
        rest = after;
    }
    tags
}

/// The first frame: its name, its content and what follows it.
fn frame(version: u8, bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (head, name) = if version == 2 { (6, 3) } else { (10, 4) };
    let name = bytes.get(..name).filter(|name| name.iter().all(u8::is_ascii_alphanumeric))?;
    let size = bytes.get(name.len()..head)?;
    let bits = if version == 4 { 7 } else { 8 };
    let length = size.iter().take(name.len()).fold(0_usize, |length, byte| length << bits | usize::from(*byte));
    let content = bytes.get(head..)?.get(..length)?;
    Some((name, content, &bytes[head + length..]))
}

fn text(content: &[u8]) -> Option<String> {
    let (encoding, bytes) = content.split_first()?;
    let text: String = match encoding {
        0 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        1 => match bytes {
            [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
            [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
            _ => utf16(bytes, u16::from_le_bytes),
        },
        2 => utf16(bytes, u16::from_be_bytes),
        3 => String::from_utf8_lossy(bytes).into_owned(),
        _ => return None,
    };
    // Only the first of several texts.
    tag_text(text.split('\0').next().unwrap_or_default())
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::samples::id3;

    fn read_tags(bytes: Vec<u8>) -> (u64, Tags) {
        let length = bytes.len() as u64;
        read(&mut Source::new(Cursor::new(bytes), length)).unwrap()
    }

    #[test]
    fn title_and_artist_are_read_in_every_encoding() {
        let utf16: Vec<u8> =
            [1, 0xff, 0xfe].into_iter().chain("Émile".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let mut bytes = id3(&[(b"TIT2", b"\x03Sense and Sensibility"), (b"TPE1", &utf16)]);
        let length = bytes.len() as u64;
        bytes.extend_from_slice(&[0; 20]);
        let (offset, tags) = read_tags(bytes);
        assert_eq!(offset, length);
        assert_eq!(tags.title.as_deref(), Some("Sense and Sensibility"));
        assert_eq!(tags.artist.as_deref(), Some("Émile"));
    }

    #[test]
    fn a_tag_that_claims_too_much_ends_with_the_file() {
        let mut bytes = b"ID3\x04\0\0\x7f\x7f\x7f\x7f".to_vec();
        bytes.extend_from_slice(b"TIT2\x7f\x7f\x7f\x7f\0\0\x03x");
        let length = bytes.len() as u64;
        assert_eq!(read_tags(bytes), (length, Tags::default()));
    }

    #[test]
    fn no_tag_is_no_offset() {
        assert_eq!(read_tags(b"ID3 is a kind of tag".to_vec()), (0, Tags::default()));
        assert_eq!(read_tags(Vec::new()), (0, Tags::default()));
    }
}
