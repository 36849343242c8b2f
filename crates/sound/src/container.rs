//! The format of a file, by its first bytes. Names and declared media types are not asked.

use std::io;

use crate::error::{Refusal, SoundError};
use crate::id3;
use crate::mpeg;
use crate::sound::Tags;
use crate::source::Source;

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Frames of MP3, with or without tags.
    Mp3,
    /// MP4: M4A, M4B, MOV, and videos.
    Mp4,
    /// FLAC.
    Flac,
    /// WAV.
    Wav,
    /// Ogg.
    Ogg,
    /// Frames of AAC (ADTS).
    Aac,
    /// Matroska and WebM.
    Matroska,
}

impl Container {
    /// The name, such as `mp3`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Mp4 => "mp4",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Ogg => "ogg",
            Self::Aac => "aac",
            Self::Matroska => "matroska",
        }
    }

    /// The media type of an audio file of this format.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Mp4 => "audio/mp4",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
            Self::Ogg => "audio/ogg",
            Self::Aac => "audio/aac",
            Self::Matroska => "audio/matroska",
        }
    }

    /// The usual end of a file name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Mp4 => "m4a",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Ogg => "ogg",
            Self::Aac => "aac",
            Self::Matroska => "mka",
        }
    }
}

/// First bytes of formats that have sound and cannot be read here.
const UNSUPPORTED: [(&[u8], &str); 14] = [
    (b"RF64", "WAV of more than 4 GiB (RF64)"),
    (b"BW64", "WAV of more than 4 GiB (BW64)"),
    (b"FORM", "AIFF"),
    (b"caff", "Core Audio Format"),
    (b".snd", "AU"),
    (b"MAC ", "Monkey's Audio"),
    (b"wvpk", "WavPack"),
    (b"TTA1", "True Audio"),
    (b"DSD ", "DSD"),
    (b"#!AMR", "AMR"),
    (b"MThd", "MIDI"),
    (b"FLV\x01", "Flash video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (b"\0\0\x01\xba", "MPEG program stream"),
];

/// First bytes of files that are no sound, but could hide some among their bytes.
const NO_SOUND: [&[u8]; 6] = [b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"%PDF", b"PK\x03\x04", b"\x7fELF"];

/// What was found: the format, the file from there on, and the tags before it.
pub(crate) struct Found {
    pub container: Container,
    pub source: Source,
    pub tags: Tags,
}

/// Finds the format of a file.
///
/// # Errors
/// A refusal, if it is none that can be read.
pub(crate) fn find(source: &Source) -> Result<Found, SoundError> {
    let (offset, tags) = id3::read(&mut source.clone())?;
    let mut source = source.rest(offset);
    let mut head = [0; 1024];
    let there = source.read_at(0, &mut head)?;
    source.go_to(0);
    let container = match by_magic(&head[..there])? {
        Some(container) => container,
        None if is_adts(&mut source)? => Container::Aac,
        None if mpeg::frames::find(&source)?.is_some() => Container::Mp3,
        None => return Err(Refusal::NotAudio.into()),
    };
    Ok(Found { container, source, tags })
}

fn by_magic(head: &[u8]) -> Result<Option<Container>, Refusal> {
    if NO_SOUND.iter().any(|magic| head.starts_with(magic)) {
        return Err(Refusal::NotAudio);
    }
    if let Some((_, name)) = UNSUPPORTED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(Refusal::unsupported(name));
    }
    let form = head.get(8..12).unwrap_or_default();
    let kind = head.get(4..8).unwrap_or_default();
    match head.first_chunk() {
        Some(b"RIFF") if form == b"WAVE" => Ok(Some(Container::Wav)),
        Some(b"RIFF") if form == b"AVI " => Err(Refusal::unsupported("AVI")),
        Some(b"RIFF") => Err(Refusal::NotAudio),
        Some(b"fLaC") => Ok(Some(Container::Flac)),
        Some(b"OggS") => Ok(Some(Container::Ogg)),
        Some(b"\x1a\x45\xdf\xa3") => Ok(Some(Container::Matroska)),
        _ if kind == b"ftyp" => Ok(Some(Container::Mp4)),
        _ if [b"moov", b"mdat", b"wide"].iter().any(|name| kind == *name) => {
            Err(Refusal::unsupported("QuickTime without a file type"))
        }
        _ if [0, 188, 376].iter().all(|at| head.get(*at) == Some(&0x47)) => {
            Err(Refusal::unsupported("MPEG transport stream"))
        }
        _ => Ok(None),
    }
}

/// Whether the file begins with frames of ADTS: three, or all that the file has.
fn is_adts(source: &mut Source) -> io::Result<bool> {
    let mut bytes = vec![0; 3 * 8192];
    let there = source.read_at(0, &mut bytes)?;
    source.go_to(0);
    bytes.truncate(there);
    let mut at = 0;
    for count in 0..3 {
        match bytes.get(at..) {
            Some([0xff, second, _, fourth, fifth, sixth, _, ..]) if second & 0xf6 == 0xf0 => {
                let length = usize::from(fourth & 3) << 11 | usize::from(*fifth) << 3 | usize::from(sixth >> 5);
                if length < 7 {
                    return Ok(false);
                }
                at += length;
            }
            Some([]) | None => return Ok(count > 0),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_formats_are_told_apart_by_their_first_bytes() {
        assert_eq!(by_magic(b"RIFF\0\0\0\0WAVEfmt "), Ok(Some(Container::Wav)));
        assert_eq!(by_magic(b"\0\0\0\x20ftypM4A "), Ok(Some(Container::Mp4)));
        assert_eq!(by_magic(b"RIFF\0\0\0\0WEBPVP8 "), Err(Refusal::NotAudio));
        assert_eq!(by_magic(b"\xff\xd8\xff\xe0\0\x10JFIF"), Err(Refusal::NotAudio));
        assert_eq!(by_magic(b"FORM\0\0\0\0AIFF").unwrap_err().code(), "codec_unsupported");
        assert_eq!(by_magic(b""), Ok(None));
        assert_eq!(by_magic(b"Dear Sir,"), Ok(None));
    }
}
