//! The boxes of an MP4, before a demuxer sees them: whether the file is whole and open, and which track is its sound.
//!
//! The demuxer is shown the sound track only. So pictures are not read, and a short text track does not end a seek.

use std::io;

use crate::error::{Refusal, SoundError};
use crate::source::Source;

/// The longest index: 48 hours have 30 MiB.
const MAX_INDEX: u64 = 96 << 20;

/// Boxes at the top that are looked at. A file in fragments has many.
const MAX_BOXES: usize = 1000;

/// Tracks, and boxes within a track.
const MAX_CHILDREN: usize = 100;

/// What the index says.
#[derive(Debug)]
pub(crate) struct Movie {
    /// Where the types of the tracks stand that are not the sound.
    pub others: Vec<u64>,
    /// The four characters of the codec.
    pub codec: String,
    /// Whether the samples are indexed in the fragments, not in the index.
    pub fragmented: bool,
}

/// A box: what it is, and where it and its content are.
#[derive(Clone, Copy)]
struct Part {
    kind: [u8; 4],
    start: u64,
    content: u64,
    end: u64,
}

/// Inspects the file.
pub(crate) fn inspect(source: &mut Source) -> Result<Movie, SoundError> {
    let index = find_index(source)?;
    if index.end - index.start > MAX_INDEX {
        return Err(Refusal::damaged("its index is too long").into());
    }
    let parts = children(source, index)?;
    let fragmented = parts.iter().any(|part| &part.kind == b"mvex");
    let tracks: Vec<Part> = parts.into_iter().filter(|part| &part.kind == b"trak").collect();
    for track in &tracks {
        let Some(codec) = sound_codec(source, *track)? else { continue };
        if [b"enca", b"drms", b"drmi", b"aavd"].iter().any(|name| codec == **name) {
            return Err(Refusal::Encrypted.into());
        }
        // In a file in fragments, each of them names the tracks again.
        let others = tracks.iter().filter(|other| !fragmented && other.start != track.start);
        return Ok(Movie {
            others: others.map(|other| other.start + 4).collect(),
            codec: codec.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect(),
            fragmented,
        });
    }
    Err(Refusal::NoSound.into())
}

/// The box `moov`, in a file that has all bytes of the boxes at its top.
fn find_index(source: &mut Source) -> Result<Part, SoundError> {
    let length = source.length();
    let mut index = None;
    let mut at = 0;
    for _ in 0..MAX_BOXES {
        let Some(part) = part(source, at, length)? else { break };
        if &part.kind == b"ftyp" && has_brand_of_audible(source, part)? {
            return Err(Refusal::Encrypted.into());
        }
        if part.end > length {
            // What follows the index may be junk, but not its samples.
            if index.is_none() || &part.kind == b"mdat" {
                let missing = format!("{} bytes are missing", part.end - length);
                return Err(Refusal::Truncated { missing }.into());
            }
            break;
        }
        if &part.kind == b"moov" && index.is_none() {
            index = Some(part);
        }
        at = part.end;
    }
    index.ok_or_else(|| Refusal::Truncated { missing: "its index (moov) is missing".to_owned() }.into())
}

fn has_brand_of_audible(source: &mut Source, part: Part) -> io::Result<bool> {
    let mut brand = [0; 4];
    source.read_at(part.content, &mut brand)?;
    Ok(matches!(&brand, b"aax " | b"aaxc"))
}

/// The codec of a track of sound.
fn sound_codec(source: &mut Source, track: Part) -> Result<Option<[u8; 4]>, SoundError> {
    let Some(media) = child(source, track, *b"mdia")? else { return Ok(None) };
    let Some(handler) = child(source, media, *b"hdlr")? else { return Ok(None) };
    let mut kind = [0; 4];
    source.read_at(handler.content + 8, &mut kind)?;
    if &kind != b"soun" {
        return Ok(None);
    }
    let mut tables = media;
    for name in [*b"minf", *b"stbl", *b"stsd"] {
        match child(source, tables, name)? {
            Some(inner) => tables = inner,
            None => return Err(Refusal::damaged("its sound track has no description").into()),
        }
    }
    let entry = part(source, tables.content + 8, tables.end)?;
    entry.map(|entry| Some(entry.kind)).ok_or_else(|| Refusal::damaged("its sound track has no codec").into())
}

fn child(source: &mut Source, parent: Part, kind: [u8; 4]) -> Result<Option<Part>, SoundError> {
    Ok(children(source, parent)?.into_iter().find(|part| part.kind == kind))
}

/// The boxes in a box. One that is longer than its parent ends the list.
fn children(source: &mut Source, parent: Part) -> Result<Vec<Part>, SoundError> {
    let mut parts = Vec::new();
    let mut at = parent.content;
    while let Some(part) = part(source, at, parent.end)?.filter(|part| part.end <= parent.end) {
        if parts.len() == MAX_CHILDREN {
            return Err(Refusal::damaged("its index has too many parts").into());
        }
        at = part.end;
        parts.push(part);
    }
    Ok(parts)
}

/// The head of the box at this position, if one has room before `end`.
fn part(source: &mut Source, at: u64, end: u64) -> Result<Option<Part>, SoundError> {
    let mut head = [0; 16];
    if end.saturating_sub(at) < 8 || source.read_at(at, &mut head)? < 8 {
        return Ok(None);
    }
    let [a, b, c, d, k, l, m, n, long @ ..] = head;
    let (header, size) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (8, end - at),
        1 => (16, u64::from_be_bytes(long)),
        size => (8, u64::from(size)),
    };
    if size < header {
        return Ok(None);
    }
    Ok(Some(Part { kind: [k, l, m, n], start: at, content: at + header, end: at.saturating_add(size) }))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::samples::mp4_box;

    fn inspected(bytes: &[u8]) -> Result<Movie, SoundError> {
        inspect(&mut Source::new(Cursor::new(bytes.to_vec()), bytes.len() as u64))
    }

    fn track(handler: &[u8; 4], codec: &[u8; 4]) -> Vec<u8> {
        let entry = mp4_box(codec, &[0; 28]);
        let description = mp4_box(b"stsd", &[[0, 0, 0, 0, 0, 0, 0, 1].as_slice(), &entry].concat());
        let tables = mp4_box(b"minf", &mp4_box(b"stbl", &description));
        let name = mp4_box(b"hdlr", &[[0; 8].as_slice(), handler, &[0; 12]].concat());
        mp4_box(b"trak", &mp4_box(b"mdia", &[name, tables].concat()))
    }

    fn movie(tracks: &[Vec<u8>]) -> Vec<u8> {
        let index = mp4_box(b"moov", &tracks.concat());
        [mp4_box(b"ftyp", b"M4A \0\0\0\0"), index, mp4_box(b"mdat", &[0; 100])].concat()
    }

    fn code(bytes: &[u8]) -> &'static str {
        inspected(bytes).err().and_then(|error| error.refusal().map(Refusal::code)).unwrap_or("accepted")
    }

    #[test]
    fn the_sound_of_a_video_is_its_only_visible_track() {
        let picture = track(b"vide", b"avc1");
        let bytes = movie(&[picture, track(b"soun", b"mp4a"), track(b"text", b"tx3g")]);
        let found = inspected(&bytes).unwrap();
        assert_eq!((found.codec.as_str(), found.fragmented, found.others.len()), ("mp4a", false, 2));
        for position in found.others {
            assert_eq!(&bytes[position as usize..position as usize + 4], b"trak");
        }
    }

    #[test]
    fn protected_cut_and_silent_files_are_named() {
        assert_eq!(code(&movie(&[track(b"soun", b"drms")])), "encrypted");
        assert_eq!(code(&movie(&[track(b"soun", b"enca")])), "encrypted");
        assert_eq!(code(&[mp4_box(b"ftyp", b"aax \0\0\0\0"), mp4_box(b"mdat", &[0; 9])].concat()), "encrypted");
        assert_eq!(code(&movie(&[track(b"vide", b"avc1")])), "no_sound");
        let whole = movie(&[track(b"soun", b"mp4a")]);
        assert_eq!(code(&whole), "accepted");
        assert_eq!(code(&whole[..whole.len() - 1]), "truncated");
        assert_eq!(code(&whole[..100]), "truncated");
        assert_eq!(code(&mp4_box(b"ftyp", b"M4A ")), "truncated");
    }

    #[test]
    fn absurd_sizes_end_the_search() {
        let mut bytes = movie(&[track(b"soun", b"mp4a")]);
        for at in 0..bytes.len() - 4 {
            let before = bytes[at..at + 4].to_vec();
            for absurd in [[0xff; 4], [0; 4], [0, 0, 0, 1]] {
                bytes[at..at + 4].copy_from_slice(&absurd);
                let _ = inspected(&bytes);
            }
            bytes[at..at + 4].copy_from_slice(&before);
        }
    }
}
