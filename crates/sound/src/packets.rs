//! The packets of a file, whatever its container, with times in samples.

use symphonia::core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::container::{Container, find};
use crate::demuxer::Demuxer;
use crate::error::{Refusal, SoundError, of_decoder};
use crate::mpeg::Mpeg;
use crate::sound::Tags;
use crate::source::Source;

/// A packet of the sound.
pub(crate) struct Piece {
    /// Its first sample. Before zero are samples that an encoder added.
    pub at: i64,
    /// How many samples it announces.
    pub samples: u64,
    pub packet: Packet,
}

/// The packets, one after the other.
pub(crate) struct Packets {
    pub container: Container,
    tags: Tags,
    stream: Stream,
}

pub(crate) enum Stream {
    Mpeg(Box<Mpeg>),
    Demuxed(Box<Demuxer>),
}

impl Packets {
    /// Opens a file of any supported format.
    pub(crate) fn open(source: &Source) -> Result<Self, SoundError> {
        let found = find(source)?;
        let stream = match found.container {
            Container::Mp3 => Stream::Mpeg(Box::new(Mpeg::open(&found.source)?.ok_or(Refusal::NotAudio)?)),
            container => Stream::Demuxed(Box::new(Demuxer::open(container, &found.source)?)),
        };
        Ok(Self { container: found.container, tags: found.tags, stream })
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Title and artist: those before the sound, else those of the container.
    pub(crate) fn tags(&mut self) -> Tags {
        let before = std::mem::take(&mut self.tags);
        let inside = match &mut self.stream {
            Stream::Mpeg(_) => Tags::default(),
            Stream::Demuxed(demuxer) => demuxer.tags(),
        };
        Tags { title: before.title.or(inside.title), artist: before.artist.or(inside.artist) }
    }

    /// Samples a second of one channel.
    pub(crate) fn sample_rate(&self) -> u32 {
        match &self.stream {
            Stream::Mpeg(mpeg) => mpeg.sample_rate(),
            Stream::Demuxed(demuxer) => demuxer.sample_rate(),
        }
    }

    /// Sets the samples a second that the decoder found. The container may announce others.
    pub(crate) fn set_sample_rate(&mut self, rate: u32) {
        if let Stream::Demuxed(demuxer) = &mut self.stream {
            demuxer.set_sample_rate(rate);
        }
    }

    /// Whether times are exact to the sample.
    pub(crate) fn is_exact(&self) -> bool {
        match &self.stream {
            Stream::Mpeg(_) => true,
            Stream::Demuxed(demuxer) => demuxer.is_exact(),
        }
    }

    /// Changes when the packets need another decoder.
    pub(crate) fn generation(&self) -> u32 {
        match &self.stream {
            Stream::Mpeg(_) => 0,
            Stream::Demuxed(demuxer) => demuxer.generation(),
        }
    }

    /// A decoder for the packets.
    pub(crate) fn decoder(&self) -> Result<Box<dyn AudioDecoder>, Refusal> {
        match &self.stream {
            Stream::Demuxed(demuxer) => demuxer.decoder(),
            Stream::Mpeg(mpeg) => {
                let mut params = AudioCodecParameters::new();
                params.for_codec(CODEC_ID_MP3).with_sample_rate(mpeg.sample_rate());
                let options = AudioDecoderOptions::default();
                let made = symphonia::default::get_codecs().make_audio_decoder(&params, &options);
                made.map_err(|error| of_decoder(&error))
            }
        }
    }

    /// The next packet, or none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, SoundError> {
        match &mut self.stream {
            Stream::Demuxed(demuxer) => demuxer.next(),
            Stream::Mpeg(mpeg) => Ok(mpeg.next()?.map(|(at, samples, frame)| Piece {
                at,
                samples,
                packet: Packet::new(0, Timestamp::new(at), Duration::new(samples), frame),
            })),
        }
    }

    /// The end of the last packet that was read, unless the frames have no times.
    pub(crate) fn end(&self) -> u64 {
        match &self.stream {
            Stream::Mpeg(_) => 0,
            Stream::Demuxed(demuxer) => demuxer.end(),
        }
    }

    /// Goes to the packet with this sample, or to one before it; for sample zero to the first packet of all.
    pub(crate) fn seek(&mut self, sample: u64) -> Result<(), SoundError> {
        match &mut self.stream {
            Stream::Mpeg(mpeg) => mpeg.seek(sample),
            Stream::Demuxed(demuxer) => demuxer.seek(sample),
        }
    }
}
