//! A sound as speech recognition wants it: [`Decoder`].

use std::io::{Read, Seek};
use std::time::Duration;

use crate::error::{Refusal, SoundError};
use crate::flac::mix;
use crate::guard::guarded;
use crate::pcm::Pcm;
use crate::resampler::Resampler;
use crate::sound::{Sound, samples_in};
use crate::source::Source;

/// Samples a second of the blocks.
pub const SPEECH_RATE: u32 = 16_000;

/// The fewest samples of a block, but for the last one.
const BLOCK: usize = 8_000;

/// Samples in a row, of one channel at [`SPEECH_RATE`].
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The number of the first sample, from the start of the sound.
    pub start: u64,
    /// The samples: half a second, or a little more.
    pub samples: Vec<f32>,
}

/// Decodes a sound to one channel of 16 kHz, block by block.
///
/// A sample depends on the file and its number alone: the same comes from a decode of the whole file and from one that seeks. Only in
/// Matroska, whose clock is of milliseconds, a seek may be wrong by one.
pub struct Decoder {
    source: Source,
    pcm: Pcm,
    resampler: Resampler,
    next: u64,
    /// The sound has ended, or its decoder is in a state that nothing is known of.
    ended: bool,
}

impl Decoder {
    /// Opens a file of `bytes` bytes at its start. `sound` is what [`crate::probe`] found.
    ///
    /// # Errors
    /// A refusal or the failure of the source.
    pub fn open(source: impl Read + Seek + Send + 'static, bytes: u64, sound: &Sound) -> Result<Self, SoundError> {
        if !(4_000..=192_000).contains(&sound.sample_rate) {
            return Err(Refusal::unsupported(&format!("a sample rate of {} Hz", sound.sample_rate)).into());
        }
        let source = Source::new(source, bytes);
        let pcm = guarded(&source, || Pcm::open(&source, sound))?;
        let resampler = Resampler::new(sound.sample_rate, SPEECH_RATE);
        Ok(Self { source, pcm, resampler, next: 0, ended: false })
    }

    /// Goes to a time. The next block begins there.
    ///
    /// Containers without an index, and MP3, are read from their start to it, without decoding.
    ///
    /// # Errors
    /// A refusal or the failure of the source.
    pub fn seek(&mut self, at: Duration) -> Result<(), SoundError> {
        self.next = samples_in(at, SPEECH_RATE);
        self.ended = true;
        let first = self.resampler.restart(self.next);
        let pcm = &mut self.pcm;
        guarded(&self.source, || pcm.seek(first))?;
        self.ended = false;
        Ok(())
    }

    /// The next block, or none at the end.
    ///
    /// # Errors
    /// A refusal or the failure of the source. After it there is none, until a seek.
    pub fn next_block(&mut self) -> Result<Option<Block>, SoundError> {
        if self.ended {
            return Ok(None);
        }
        let (pcm, resampler) = (&mut self.pcm, &mut self.resampler);
        let filled = guarded(&self.source, || fill(pcm, resampler));
        self.ended = !matches!(filled, Ok((_, true)));
        let (samples, _) = filled?;
        let start = self.next;
        self.next += samples.len() as u64;
        Ok((!samples.is_empty()).then_some(Block { start, samples }))
    }

    /// The number of packets that could not be decoded so far. Silence took their place.
    pub fn lost(&self) -> u64 {
        self.pcm.lost()
    }
}

/// The samples of a block, and whether more may follow.
fn fill(pcm: &mut Pcm, resampler: &mut Resampler) -> Result<(Vec<f32>, bool), SoundError> {
    let mut samples = Vec::with_capacity(2 * BLOCK);
    while samples.len() < BLOCK {
        if !pcm.next()? {
            resampler.finish(pcm.position(), &mut samples);
            return Ok((samples, false));
        }
        resampler.push(&mix(pcm.planes()), &mut samples);
    }
    Ok((samples, true))
}
