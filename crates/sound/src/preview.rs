//! A short part of a sound as a file of its own: [`preview`].

use std::io::{Read, Seek};
use std::time::Duration;

use crate::error::SoundError;
use crate::flac;
use crate::guard::guarded;
use crate::mpeg::cut::cut;
use crate::packets::{Packets, Stream};
use crate::pcm::Pcm;
use crate::sound::{Sound, duration_of, samples_in};
use crate::source::Source;

/// The longest preview. A longer one is cut to it.
pub const MAX_PREVIEW: Duration = Duration::from_secs(120);

/// A file with a part of a sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The media type: `audio/mpeg` or `audio/flac`.
    pub media_type: &'static str,
    /// The end of a file name: `mp3` or `flac`.
    pub extension: &'static str,
    /// How long it plays.
    pub duration: Duration,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Makes a preview of `length`, from `at` on; earlier, if the sound would end before it.
///
/// MP3 is cut between frames, so nothing is lost and nothing is encoded again. Everything else becomes FLAC: one or two channels of
/// 16 bits and at most 48 kHz.
///
/// # Errors
/// A refusal, if there is no sound to cut; or the failure of the source.
pub fn preview(
    source: impl Read + Seek + Send + 'static,
    bytes: u64,
    sound: &Sound,
    at: Duration,
    length: Duration,
) -> Result<Preview, SoundError> {
    let source = Source::new(source, bytes);
    let length = length.min(MAX_PREVIEW);
    let at = at.min(sound.duration.saturating_sub(length));
    guarded(&source, || {
        let packets = Packets::open(&source)?;
        let rate = packets.sample_rate();
        match packets.stream() {
            Stream::Mpeg(mpeg) => {
                let part = cut(mpeg, samples_in(at, rate), samples_in(length, rate))?;
                let duration = duration_of(part.samples, rate);
                Ok(Preview { media_type: "audio/mpeg", extension: "mp3", duration, bytes: part.bytes })
            }
            Stream::Demuxed(_) => encoded(&source, sound, at, length),
        }
    })
}

fn encoded(source: &Source, sound: &Sound, at: Duration, length: Duration) -> Result<Preview, SoundError> {
    let (rate, channels) = (sound.sample_rate, sound.channels);
    let mut pcm = Pcm::open(source, sound)?;
    pcm.seek(samples_in(at, rate))?;
    let encoded = flac::encode(&mut pcm, rate, channels, samples_in(length, rate))?;
    let duration = duration_of(encoded.samples, encoded.rate);
    Ok(Preview { media_type: "audio/flac", extension: "flac", duration, bytes: encoded.bytes })
}
