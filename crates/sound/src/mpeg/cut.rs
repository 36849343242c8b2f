//! A part of an MP3 stream, cut between frames: no sample is encoded again.

use super::Mpeg;
use super::header::Header;
use super::info;
use crate::error::{Refusal, SoundError};

/// How many frames earlier the part may begin, about a second.
const REACH: u64 = 40;

/// Whole frames with a table before them.
pub(crate) struct Part {
    pub bytes: Vec<u8>,
    /// Samples of one channel.
    pub samples: u64,
}

/// The frames from sample `from` on, for `samples` samples.
///
/// The part begins with the last frame before it that needs no earlier data, if one is near; else with the frame that has the sample,
/// and decoders are silent for the first frame or two.
pub(crate) fn cut(mpeg: &Mpeg, from: u64, samples: u64) -> Result<Part, SoundError> {
    let mut frames = mpeg.frames();
    let mut kept: Vec<(Header, Vec<u8>)> = Vec::new();
    let mut reached = false;
    let (mut position, mut length) = (0, 0);
    let from = from.saturating_add(mpeg.delay());
    while length < samples
        && let Some(header) = frames.advance()?
    {
        position += (1 + frames.lost()) * header.samples();
        if position.saturating_add(REACH * header.samples()) <= from {
            continue;
        }
        let bytes = frames.bytes()?;
        let whole = header.is_whole(bytes);
        if whole && !reached {
            kept.clear();
            length = 0;
        }
        reached |= position > from;
        if whole || reached || !kept.is_empty() {
            kept.push((header, bytes.to_vec()));
            length += header.samples();
        }
    }
    join(&kept).ok_or_else(|| Refusal::NoSound.into())
}

fn join(frames: &[(Header, Vec<u8>)]) -> Option<Part> {
    let (first, _) = frames.first()?;
    let variable = frames.iter().any(|(header, _)| header.bit_rate != first.bit_rate);
    let length: usize = frames.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut bytes = info::write(first, u32::try_from(frames.len()).ok()?, u32::try_from(length).ok()?, variable);
    for (_, frame) in frames {
        bytes.extend_from_slice(frame);
    }
    Some(Part { bytes, samples: frames.iter().map(|(header, _)| header.samples()).sum() })
}
