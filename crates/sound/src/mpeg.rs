//! MP3 streams: found, measured and read frame by frame. The decoder gets whole frames only.
//!
//! Duration: a table in the first frame is believed if it fits the length of the file and samples of it. Without one, or if the table
//! is wrong (files that were joined, cut, or written by a liar), the headers of all frames are counted. Both are exact.

pub(crate) mod cut;
pub(crate) mod frames;
pub(crate) mod header;
pub(crate) mod info;

use std::io;

use crate::error::{Refusal, SoundError};
use crate::source::Source;
use frames::Frames;
use header::{Header, Layer};
use info::Info;

/// A file that is shorter is counted, whatever its table says.
const SHORT: u64 = 1 << 20;

/// How far a table and the length of the file may differ: a frame, and a tag at the end.
const SLACK: u64 = 4096;

/// An MP3 stream.
pub(crate) struct Mpeg {
    source: Source,
    /// The first frame of sound.
    first: Header,
    start: u64,
    info: Info,
    frames: Frames,
    /// Samples before the next frame, with those of the encoder's delay.
    position: u64,
    /// The next frame, if it was read on the way to a time.
    held: Option<Header>,
}

impl Mpeg {
    /// Opens the stream, if there is one of layer III.
    pub(crate) fn open(source: &Source) -> Result<Option<Self>, SoundError> {
        source.allow(u64::MAX);
        let Some((first, offset)) = frames::find(source)? else { return Ok(None) };
        if first.layer != Layer::Three {
            return Err(Refusal::unsupported("MPEG audio layer II").into());
        }
        let mut frames = Frames::new(source.clone(), offset, first);
        let mut info = None;
        let mut start = offset;
        if let Some(header) = frames.advance()? {
            info = Info::read(&header, frames.bytes()?);
            start = if info.is_some() { offset + header.bytes as u64 } else { offset };
        }
        let frames = Frames::new(source.clone(), start, first);
        let info = info.unwrap_or_default();
        Ok(Some(Self { source: source.clone(), first, start, info, frames, position: 0, held: None }))
    }

    /// Samples a second of one channel.
    pub(crate) fn sample_rate(&self) -> u32 {
        self.first.sample_rate
    }

    /// Samples at the start that are not of the sound.
    pub(crate) fn delay(&self) -> u64 {
        self.info.delay
    }

    /// The number of samples of one channel. Reads the table and a few places, or all headers.
    pub(crate) fn measure(&self) -> Result<u64, SoundError> {
        self.source.allow(u64::MAX);
        let samples = match self.believable_frames()? {
            Some(frames) => frames * self.first.samples(),
            None => self.count()?,
        };
        Ok(samples.saturating_sub(self.info.delay + self.info.padding))
    }

    /// The number of frames in the table, if the file has the bytes for them.
    fn believable_frames(&self) -> io::Result<Option<u64>> {
        let there = self.source.length() - self.start;
        let (Some(frames), Some(bytes)) = (self.info.frames, self.info.bytes) else { return Ok(None) };
        let claimed = bytes.saturating_sub(SLACK);
        if there < SHORT || frames == 0 || claimed > there || there - claimed > 3 * SLACK {
            return Ok(None);
        }
        let (mut sampled, mut length) = (0, 0);
        for part in 0..4 {
            let mut window = Frames::new(self.source.clone(), self.start + there / 4 * part, self.first);
            let until = window.offset() + (64 << 10);
            // The first one may begin within a frame.
            window.advance()?;
            while window.offset() < until
                && let Some(header) = window.advance()?
            {
                sampled += 1;
                length += header.bytes as u64;
            }
        }
        // The mean length of a frame, by the table and by the samples; a factor of two allows for quiet parts.
        let (by_table, by_samples) = (there * sampled, length * frames);
        Ok((sampled > 0 && by_table / 2 <= by_samples && by_samples / 2 <= by_table).then_some(frames))
    }

    fn count(&self) -> Result<u64, SoundError> {
        let mut frames = Frames::new(self.source.clone(), self.start, self.first);
        let mut count = 0;
        while frames.advance()?.is_some() {
            count += 1 + frames.lost();
        }
        match self.info.frames {
            // A few frames less are damage, not a missing end.
            Some(claimed) if claimed > count + 2 + count / 50 => {
                let missing = format!("it has {count} of {claimed} frames");
                Err(Refusal::Truncated { missing }.into())
            }
            _ => Ok(count * self.first.samples()),
        }
    }

    /// The next frame: its first sample, counted from the start of the sound, its samples and its bytes.
    pub(crate) fn next(&mut self) -> Result<Option<(i64, u64, Vec<u8>)>, SoundError> {
        let Some(header) = self.advance()? else { return Ok(None) };
        let at = i64::try_from(self.position).unwrap_or(i64::MAX).saturating_sub_unsigned(self.info.delay);
        self.position += header.samples();
        Ok(Some((at, header.samples(), self.frames.bytes()?.to_vec())))
    }

    /// The next frame. What was lost before it keeps its time.
    fn advance(&mut self) -> io::Result<Option<Header>> {
        if let Some(header) = self.held.take() {
            return Ok(Some(header));
        }
        let header = self.frames.advance()?;
        self.position += self.frames.lost() * u64::from(header.is_some()) * self.first.samples();
        Ok(header)
    }

    /// Goes to the frame with this sample, by the headers of all frames before it. Sample zero is the start of the stream: the frames of
    /// the encoder's delay are the decoder's lead.
    pub(crate) fn seek(&mut self, sample: u64) -> Result<(), SoundError> {
        let target = if sample == 0 { 0 } else { sample.saturating_add(self.info.delay) };
        if target < self.position {
            self.frames = Frames::new(self.source.clone(), self.start, self.first);
            self.position = 0;
            self.held = None;
        }
        while let Some(header) = self.advance()? {
            if self.position + header.samples() > target {
                self.held = Some(header);
                break;
            }
            self.position += header.samples();
        }
        Ok(())
    }

    /// All frames from the first one of sound.
    pub(crate) fn frames(&self) -> Frames {
        Frames::new(self.source.clone(), self.start, self.first)
    }
}
