//! The samples of a sound without gaps: planes of one channel each, from any sample on.
//!
//! Silence takes the place of a packet that cannot be decoded, so that every later sample keeps its time. After a seek the samples are
//! those of a decode from the start: decoders get half a second before it, which they need to be in their usual state.

use symphonia::core::codecs::audio::AudioDecoder;

use crate::error::{Refusal, SoundError};
use crate::packets::{Packets, Piece, Stream};
use crate::sound::{Sound, samples_in};
use crate::source::Source;

/// A reader of samples.
pub(crate) struct Pcm {
    packets: Packets,
    decoder: Box<dyn AudioDecoder>,
    generation: u32,
    rate: u32,
    channels: usize,
    /// The next sample, and the end of the sound.
    position: i64,
    end: i64,
    /// What the decoder gave, and its first sample.
    decoded: Vec<Vec<f32>>,
    decoded_at: i64,
    /// Where the next packet begins if nothing is missing.
    follows: Option<i64>,
    planes: Vec<Vec<f32>>,
    lost: u64,
}

impl Pcm {
    /// Opens the sound at its start.
    pub(crate) fn open(source: &Source, sound: &Sound) -> Result<Self, SoundError> {
        let mut packets = Packets::open(source)?;
        packets.set_sample_rate(sound.sample_rate);
        Ok(Self {
            decoder: packets.decoder()?,
            generation: packets.generation(),
            packets,
            rate: sound.sample_rate,
            channels: usize::from(sound.channels).max(1),
            position: 0,
            end: i64::try_from(samples_in(sound.duration, sound.sample_rate)).unwrap_or(i64::MAX),
            decoded: Vec::new(),
            decoded_at: 0,
            follows: None,
            planes: Vec::new(),
            lost: 0,
        })
    }

    /// The next sample.
    pub(crate) fn position(&self) -> u64 {
        self.position.unsigned_abs()
    }

    /// Packets that could not be decoded.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// What [`Pcm::next`] read: as many planes as channels, of the same length.
    pub(crate) fn planes(&self) -> &[Vec<f32>] {
        &self.planes
    }

    /// Goes to a sample.
    pub(crate) fn seek(&mut self, sample: u64) -> Result<(), SoundError> {
        self.packets.seek(sample.saturating_sub(u64::from(self.rate / 2)))?;
        // A reset leaves the bytes that an MP3 decoder borrows from the frames before.
        self.decoder = self.packets.decoder()?;
        self.generation = self.packets.generation();
        self.decoded.clear();
        self.follows = None;
        self.position = i64::try_from(sample).unwrap_or(i64::MAX).min(self.end);
        Ok(())
    }

    /// Reads the next samples, at least one and at most a packet or a second. False at the end.
    pub(crate) fn next(&mut self) -> Result<bool, SoundError> {
        while self.position < self.end {
            let length = self.decoded.first().map_or(0, Vec::len);
            let decoded_end = self.decoded_at.saturating_add(i64::try_from(length).unwrap_or(0));
            let left = self.end - self.position;
            let is_ahead = length > 0 && decoded_end > self.position;
            if is_ahead && self.decoded_at > self.position {
                let silence = (self.decoded_at - self.position).min(left).min(i64::from(self.rate));
                self.planes = vec![vec![0.0; usize::try_from(silence).unwrap_or(0)]; self.channels];
                self.position += silence;
                return Ok(true);
            }
            if is_ahead {
                let skipped = usize::try_from(self.position - self.decoded_at).unwrap_or(0);
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(length - skipped);
                self.planes.resize(self.channels, Vec::new());
                let last = self.decoded.len() - 1;
                for (number, plane) in self.planes.iter_mut().enumerate() {
                    plane.clear();
                    plane.extend_from_slice(&self.decoded[number.min(last)][skipped..skipped + count]);
                }
                self.position += i64::try_from(count).unwrap_or(0);
                return Ok(true);
            }
            if !self.decode()? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Decodes the next packet that can be decoded. False at the end.
    fn decode(&mut self) -> Result<bool, SoundError> {
        self.decoded.clear();
        while let Some(piece) = self.packets.next()? {
            if self.packets.generation() != self.generation {
                self.generation = self.packets.generation();
                self.decoder = self.packets.decoder()?;
                self.follows = None;
            }
            let start = self.start_of(&piece);
            let mut done = self.decode_piece(&piece)?;
            if !done && matches!(self.packets.stream(), Stream::Mpeg(_)) {
                // The decoder does not accept another number of channels; a new one does.
                self.decoder = self.packets.decoder()?;
                done = self.decode_piece(&piece)?;
            }
            if !done {
                self.lost += 1;
                continue;
            }
            let length = self.decoded.first().map_or(0, Vec::len);
            self.follows = Some(start.saturating_add(i64::try_from(length).unwrap_or(0)));
            if length > 0 {
                self.decoded_at = start;
                return Ok(true);
            }
        }
        self.decoded.clear();
        Ok(false)
    }

    /// The first sample of a packet. A clock that is coarser than samples is not followed into its small steps.
    fn start_of(&self, piece: &Piece) -> i64 {
        match self.follows {
            Some(follows) if !self.packets.is_exact() => {
                let step = piece.at.saturating_sub(follows).unsigned_abs();
                if step <= u64::from(self.rate / 50) { follows } else { piece.at }
            }
            _ => piece.at,
        }
    }

    /// Decodes a packet into `decoded`. False if it is damaged.
    fn decode_piece(&mut self, piece: &Piece) -> Result<bool, SoundError> {
        self.decoded.clear();
        match self.decoder.decode(&piece.packet) {
            Ok(buffer) if buffer.frames() > 0 && (buffer.spec().rate() != self.rate || buffer.num_planes() == 0) => {
                Ok(false)
            }
            Ok(buffer) => {
                buffer.copy_to_vecs_planar::<f32>(&mut self.decoded);
                Ok(true)
            }
            Err(symphonia::core::errors::Error::Unsupported(feature)) if self.position == 0 => {
                Err(Refusal::unsupported(feature).into())
            }
            Err(_) => Ok(false),
        }
    }
}
