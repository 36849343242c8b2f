//! Samples as a FLAC file of 16 bits: one or two channels of at most 48 kHz, which every player has.

use flacenc::bitsink::ByteSink;
use flacenc::component::{BitRepr, Stream};
use flacenc::config::Encoder;
use flacenc::error::{Verified, Verify};
use flacenc::source::{Context, Fill, FrameBuf};

use crate::error::{Refusal, SoundError};
use crate::pcm::Pcm;
use crate::resampler::Resampler;

/// The highest sample rate.
const MAX_RATE: u32 = 48_000;

/// Samples of a channel in a frame.
const BLOCK: usize = 4096;

/// A shorter rest, of a millisecond, is left out: the encoder predicts from more samples.
const MIN_REST: usize = 64;

/// A FLAC file in memory.
pub(crate) struct Encoded {
    pub bytes: Vec<u8>,
    /// Samples of one channel, and how many there are in a second.
    pub samples: u64,
    pub rate: u32,
}

/// Encodes the samples from where `pcm` stands, for `samples` samples of its rate.
///
/// Frames are written as they are made: memory is that of the result.
pub(crate) fn encode(pcm: &mut Pcm, rate: u32, channels: u16, samples: u64) -> Result<Encoded, SoundError> {
    let mut channels = Channels::new(rate, channels, pcm.position());
    let mut writer = Writer::new(channels.rate, channels.count).ok_or_else(failed)?;
    let until = pcm.position().saturating_add(samples);
    while pcm.position() < until && pcm.next()? {
        let beyond = usize::try_from(pcm.position().saturating_sub(until)).unwrap_or(0);
        channels.push(pcm.planes(), beyond);
        while let Some(block) = channels.take(BLOCK) {
            writer.write(&block).ok_or_else(failed)?;
        }
    }
    if let Some(block) = channels.rest() {
        writer.write(&block).ok_or_else(failed)?;
    }
    let (rate, total) = (channels.rate, writer.context.total_samples() as u64);
    if total == 0 {
        return Err(Refusal::NoSound.into());
    }
    Ok(Encoded { bytes: writer.finish().ok_or_else(failed)?, samples: total, rate })
}

fn failed() -> SoundError {
    Refusal::damaged("its samples cannot be encoded").into()
}

/// One or two channels at the rate of the result, that wait for a whole block.
struct Channels {
    count: usize,
    rate: u32,
    resamplers: Vec<Resampler>,
    waiting: Vec<Vec<f32>>,
}

impl Channels {
    fn new(rate: u32, channels: u16, position: u64) -> Self {
        let count = if channels == 2 { 2 } else { 1 };
        let target = rate.min(MAX_RATE);
        let mut resamplers: Vec<Resampler> = (0..count).map(|_| Resampler::new(rate, target)).collect();
        // The output begins at the first sample at or after the position; what comes before it counts as silence.
        let next = (u128::from(position) * u128::from(target)).div_ceil(u128::from(rate.max(1)));
        for resampler in &mut resamplers {
            let first = resampler.restart(u64::try_from(next).unwrap_or(0));
            let before = usize::try_from(position.saturating_sub(first)).unwrap_or(0);
            resampler.push(&vec![0.0; before], &mut Vec::new());
        }
        Self { count, rate: target, resamplers, waiting: vec![Vec::new(); count] }
    }

    /// Adds planes but for their last `beyond` samples. More than two channels are mixed to one.
    fn push(&mut self, planes: &[Vec<f32>], beyond: usize) {
        let length = planes.first().map_or(0, Vec::len).saturating_sub(beyond);
        if self.count == planes.len() {
            for (number, plane) in planes.iter().enumerate() {
                self.resamplers[number].push(&plane[..length], &mut self.waiting[number]);
            }
        } else {
            let mut mixed = mix(planes);
            mixed.truncate(length);
            self.resamplers[0].push(&mixed, &mut self.waiting[0]);
        }
    }

    /// The next `length` samples, interleaved, as numbers of 16 bits.
    fn take(&mut self, length: usize) -> Option<Vec<i32>> {
        if self.waiting.iter().any(|plane| plane.len() < length) {
            return None;
        }
        let mut block = Vec::with_capacity(length * self.count);
        for place in 0..length {
            block.extend(self.waiting.iter().map(|plane| quantised(plane[place])));
        }
        for plane in &mut self.waiting {
            plane.drain(..length);
        }
        Some(block)
    }

    /// The samples after the last whole block.
    fn rest(&mut self) -> Option<Vec<i32>> {
        let length = self.waiting.first().map_or(0, Vec::len);
        if length < MIN_REST { None } else { self.take(length) }
    }
}

/// The mean of all channels.
pub(crate) fn mix(planes: &[Vec<f32>]) -> Vec<f32> {
    let [first, others @ ..] = planes else { return Vec::new() };
    let mut mixed = first.clone();
    for plane in others {
        for (sum, sample) in mixed.iter_mut().zip(plane) {
            *sum += sample;
        }
    }
    let share = 1.0 / planes.len() as f32;
    if share < 1.0 {
        mixed.iter_mut().for_each(|sample| *sample *= share);
    }
    mixed
}

fn quantised(sample: f32) -> i32 {
    (sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i32
}

/// Writes frames one by one, and the head when all are known.
struct Writer {
    config: Verified<Encoder>,
    stream: Stream,
    buffer: FrameBuf,
    context: Context,
    frames: ByteSink,
}

impl Writer {
    fn new(rate: u32, channels: usize) -> Option<Self> {
        let mut stream = Stream::new(rate as usize, channels, 16).ok()?;
        stream.stream_info_mut().set_block_sizes(BLOCK, BLOCK).ok()?;
        Some(Self {
            config: Encoder::default().into_verified().ok()?,
            stream,
            buffer: FrameBuf::with_size(channels, BLOCK).ok()?,
            context: Context::new(16, channels),
            frames: ByteSink::new(),
        })
    }

    fn write(&mut self, block: &[i32]) -> Option<()> {
        self.buffer.fill_interleaved(block).ok()?;
        self.context.fill_interleaved(block).ok()?;
        let number = self.context.current_frame_number()?;
        let info = self.stream.stream_info();
        let frame = flacenc::encode_fixed_size_frame(&self.config, &self.buffer, number, info).ok()?;
        self.stream.stream_info_mut().update_frame_info(&frame);
        frame.write(&mut self.frames).ok()
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        let info = self.stream.stream_info_mut();
        // The last frame may be shorter, which the head does not count.
        info.set_block_sizes(BLOCK, BLOCK).ok()?;
        info.set_md5_digest(&self.context.md5_digest());
        info.set_total_samples(self.context.total_samples());
        let mut head = ByteSink::new();
        self.stream.write(&mut head).ok()?;
        let mut bytes = head.into_inner();
        bytes.append(&mut self.frames.into_inner());
        Some(bytes)
    }
}
