//! The first frame of many MP3 files is no sound but a table: how many frames and bytes follow (Xing, Info, VBRI), and how many samples
//! the encoder added at both ends (LAME).

use super::header::Header;

/// How many samples every decoder adds at the start.
const DECODER_DELAY: u64 = 529;

/// What the table says. All of it is a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// Frames after this one.
    pub frames: Option<u64>,
    /// Bytes from the start of this frame to the end of the last one.
    pub bytes: Option<u64>,
    /// Samples at the start that are not of the sound.
    pub delay: u64,
    /// Samples at the end that are not of the sound.
    pub padding: u64,
}

impl Info {
    /// The table in a frame, if it is one.
    pub(crate) fn read(header: &Header, frame: &[u8]) -> Option<Self> {
        // Encoders place it as if there was no checksum; some count the checksum.
        let places = [4 + header.side_bytes(), 6 + header.side_bytes()];
        let xing = places.iter().find_map(|place| {
            let table = frame.get(*place..)?;
            (table.starts_with(b"Xing") || table.starts_with(b"Info")).then_some(table)
        });
        match xing {
            Some(table) => read_xing(table),
            None => frame.get(36..).filter(|table| table.starts_with(b"VBRI")).and_then(read_vbri),
        }
    }
}

fn read_xing(table: &[u8]) -> Option<Info> {
    let flags = number(table, 4)?;
    let mut at = 8;
    let mut field = |flag: u64, bytes: usize| {
        let there = flags & flag != 0;
        let place = at;
        at += if there { bytes } else { 0 };
        there.then_some(place)
    };
    let (frames, bytes) = (field(1, 4), field(2, 4));
    let _places_and_quality = (field(4, 100), field(8, 4));
    let mut info = Info {
        frames: frames.and_then(|place| number(table, place)),
        bytes: bytes.and_then(|place| number(table, place)),
        ..Info::default()
    };
    let encoder = table.get(at..).unwrap_or_default();
    if let Some([first, second, third]) = encoder.get(21..24)
        && [b"LAME", b"Lavf", b"Lavc"].iter().any(|name| encoder.starts_with(*name))
    {
        let [first, second, third] = [first, second, third].map(|byte| u64::from(*byte));
        info.delay = (first << 4 | second >> 4) + DECODER_DELAY;
        info.padding = ((second & 15) << 8 | third).saturating_sub(DECODER_DELAY);
    }
    Some(info)
}

fn read_vbri(table: &[u8]) -> Option<Info> {
    Some(Info { frames: Some(number(table, 14)?), bytes: Some(number(table, 10)?), ..Info::default() })
}

fn number(table: &[u8], at: usize) -> Option<u64> {
    let bytes: &[u8; 4] = table.get(at..)?.first_chunk()?;
    Some(u64::from(u32::from_be_bytes(*bytes)))
}

/// A frame with a table for `frames` frames of `bytes` bytes, in the form of `like`. Players show the duration by it.
pub(crate) fn write(like: &Header, frames: u32, bytes: u32, variable: bool) -> Vec<u8> {
    let table = 4 + like.side_bytes();
    let [first, second, third, fourth] = like.word;
    // The lowest bit rate whose frame has room, without checksum and padding.
    let header = (1..15_u8).find_map(|index| {
        let header = Header::parse([first, second | 1, index << 4 | third & 0x0c, fourth])?;
        (header.bytes >= table + 16).then_some(header)
    });
    let Some(header) = header else { return Vec::new() };
    let mut frame = vec![0; header.bytes];
    frame[..4].copy_from_slice(&header.word);
    frame[table..table + 4].copy_from_slice(if variable { b"Xing" } else { b"Info" });
    frame[table + 7] = 3;
    frame[table + 8..table + 12].copy_from_slice(&frames.to_be_bytes());
    let total = bytes.saturating_add(u32::try_from(header.bytes).unwrap_or(u32::MAX));
    frame[table + 12..table + 16].copy_from_slice(&total.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_table_reads_as_it_was_written() {
        for word in
            [[0xff, 0xfb, 0x90, 0x64], [0xff, 0xfa, 0x92, 0xc4], [0xff, 0xf3, 0x14, 0xc4], [0xff, 0xe3, 0x18, 0xc4]]
        {
            let like = Header::parse(word).unwrap();
            let frame = write(&like, 2297, 958_000, true);
            let header = Header::parse(*frame.first_chunk().unwrap()).unwrap();
            assert!(header.follows(&like) && header.bytes == frame.len() && header.mono == like.mono);
            let info = Info::read(&header, &frame).unwrap();
            assert_eq!((info.frames, info.bytes), (Some(2297), Some(958_000 + frame.len() as u64)));
            assert_eq!((info.delay, info.padding), (0, 0));
        }
    }

    #[test]
    fn a_frame_of_sound_has_no_table() {
        let header = Header::parse([0xff, 0xfb, 0x90, 0x64]).unwrap();
        assert_eq!(Info::read(&header, &vec![0; header.bytes]), None);
        assert_eq!(Info::read(&header, &[]), None);
    }
}
