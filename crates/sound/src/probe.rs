//! What a file is: [`probe`].

use std::io::{Read, Seek};

use crate::container::Container;
use crate::error::{Refusal, SoundError, of_decoder};
use crate::guard::guarded;
use crate::packets::{Packets, Stream};
use crate::sound::{Codec, Limits, Sound, duration_of};
use crate::source::Source;

/// How many packets are tried until one gives samples.
const TRIES: usize = 64;

/// The longest sound of one packet, in seconds.
const MAX_PACKET_SECONDS: u64 = 30;

/// The fewest bytes of an MP4 for a second of its sound; digital silence has more.
const MIN_MP4_BYTES: u64 = 16;

/// Finds out what a file of `bytes` bytes is, and decodes its first samples.
///
/// Of MP3 with a table, MP4, FLAC and WAV, a part is read: the index, the start and the last two seconds. Of others the packets are
/// counted, which reads the file once, in bounded memory.
///
/// # Errors
/// A refusal, if the file gives no sound or breaks the limits; or the failure of the source.
pub fn probe(source: impl Read + Seek + Send + 'static, bytes: u64, limits: &Limits) -> Result<Sound, SoundError> {
    let source = Source::new(source, bytes);
    guarded(&source, || inspect(&source, limits))
}

fn inspect(source: &Source, limits: &Limits) -> Result<Sound, SoundError> {
    let mut packets = Packets::open(source)?;
    let tags = packets.tags();
    let first = first_samples(&mut packets)?;
    packets.set_sample_rate(first.sample_rate);
    let samples = measure(&mut packets)?;
    if samples == 0 {
        return Err(Refusal::NoSound.into());
    }
    if packets.container == Container::Mp4 && samples / u64::from(first.sample_rate) > source.length() / MIN_MP4_BYTES {
        return Err(Refusal::damaged("it has too few bytes for the duration that it announces").into());
    }
    let duration = duration_of(samples, first.sample_rate);
    if duration > limits.max_duration {
        return Err(Refusal::TooLong { duration, limit: limits.max_duration }.into());
    }
    Ok(Sound {
        container: packets.container,
        codec: first.codec,
        channels: first.channels,
        sample_rate: first.sample_rate,
        duration,
        title: tags.title,
        artist: tags.artist,
    })
}

struct First {
    codec: Codec,
    channels: u16,
    sample_rate: u32,
}

/// Decodes until there are samples. They say the rate and the channels; the container may say others.
fn first_samples(packets: &mut Packets) -> Result<First, SoundError> {
    let mut decoder = packets.decoder()?;
    let mut refusal = Refusal::NoSound;
    for _ in 0..TRIES {
        let Some(piece) = packets.next()? else { break };
        let (sample_rate, channels) = match decoder.decode(&piece.packet) {
            Ok(buffer) if buffer.frames() > 0 => (buffer.spec().rate(), buffer.num_planes()),
            Ok(_) => continue,
            Err(error) => {
                refusal = of_decoder(&error);
                continue;
            }
        };
        if !(4_000..=192_000).contains(&sample_rate) {
            return Err(Refusal::unsupported(&format!("a sample rate of {sample_rate} Hz")).into());
        }
        let channels = u16::try_from(channels).ok().filter(|channels| (1..=8).contains(channels));
        let channels = channels.ok_or_else(|| Refusal::unsupported("sound of more than eight channels"))?;
        let name = decoder.codec_info().short_name;
        let codec = Codec::of_decoder(name).ok_or_else(|| Refusal::unsupported(name))?;
        return Ok(First { codec, channels, sample_rate });
    }
    Err(refusal.into())
}

/// The number of samples of one channel.
fn measure(packets: &mut Packets) -> Result<u64, SoundError> {
    let demuxer = match packets.stream() {
        Stream::Mpeg(mpeg) => return mpeg.measure(),
        Stream::Demuxed(demuxer) => demuxer,
    };
    let Some(claimed) = demuxer.claimed() else { return walk(packets) };
    let rate = u64::from(packets.sample_rate());
    let is_there = |end: u64| end.saturating_add(rate / 2 + claimed / 1000) >= claimed;
    packets.seek(claimed.saturating_sub(2 * rate))?;
    if is_there(walk(packets)?) {
        return Ok(claimed);
    }
    // The way to the end may be damaged: all packets are counted.
    packets.seek(0)?;
    let end = walk(packets)?;
    if is_there(end) {
        return Ok(claimed);
    }
    let seconds = claimed.saturating_sub(end) / rate;
    Err(Refusal::Truncated { missing: format!("{seconds} seconds of its sound are missing") }.into())
}

/// Reads all packets to the end. Returns the end of the last one.
fn walk(packets: &mut Packets) -> Result<u64, SoundError> {
    let longest = MAX_PACKET_SECONDS * u64::from(packets.sample_rate());
    while let Some(piece) = packets.next()? {
        if piece.samples > longest {
            return Err(Refusal::damaged("a packet announces more than half a minute").into());
        }
    }
    Ok(packets.end())
}
