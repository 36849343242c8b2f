//! A recording: what it is, where somebody speaks in it, and the samples of its windows. Blocking.
//!
//! In: any file that crates/sound decodes. Out: a [`Plan`], and the samples of each of its windows from a [`Reader`]. The file is decoded
//! twice, in blocks: once to find speech, once for the windows, so memory does not depend on its length.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use media::windows::{self, Window};
use serde::{Deserialize, Serialize};
use sound::{Block, Decoder, Limits, Refusal, SPEECH_RATE, Sound, SoundError};

use super::error::SpeechError;
use super::vad::{Activity, Vad};

/// A gap before a window that is longer is skipped instead of decoded: ten minutes.
const SKIPPED: u64 = 600 * SPEECH_RATE as u64;

/// Why a recording is not transcribed.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It cannot be decoded, or reading it failed.
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// The engine does not work.
    #[error(transparent)]
    Speech(#[from] SpeechError),
    /// Nobody waits for it any more.
    #[error("it was cancelled")]
    Cancelled,
}

impl RecordingError {
    /// Why the recording itself is refused, if that is the reason.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Sound(error) => error.refusal(),
            _ => None,
        }
    }
}

/// The windows of a recording: all of its speech, in pieces that an engine takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Number of samples of 16 kHz.
    pub samples: u64,
    /// First sample and end of each window.
    pub windows: Vec<(u64, u64)>,
}

impl Plan {
    /// Length of the recording.
    pub fn duration(&self) -> Duration {
        time_of(self.samples)
    }

    /// Length of all windows: the sound that an engine hears.
    pub fn heard(&self) -> Duration {
        time_of(self.windows.iter().map(|(start, end)| end.saturating_sub(*start)).sum())
    }
}

/// The time of a sample.
pub fn time_of(sample: u64) -> Duration {
    Duration::from_nanos(sample.saturating_mul(1_000_000_000 / u64::from(SPEECH_RATE)))
}

/// What the file is.
///
/// # Errors
/// A refusal, or the failure of the source.
pub fn probe(source: impl Read + Seek + Send + 'static, bytes: u64) -> Result<Sound, RecordingError> {
    Ok(sound::probe(source, bytes, &Limits::default())?)
}

/// Finds speech in the whole recording, and plans its windows. `listened` is called with the time so far, and ends it by `false`.
///
/// # Errors
/// When the recording cannot be decoded, the network fails, or `listened` ends it.
pub fn plan(
    decoder: &mut Decoder,
    vad: &mut Vad,
    mut listened: impl FnMut(Duration) -> bool,
) -> Result<Plan, RecordingError> {
    let mut listening = vad.listen();
    while let Some(block) = decoder.next_block()? {
        listening.push(&block.samples)?;
        if !listened(time_of(block.start + block.samples.len() as u64)) {
            return Err(RecordingError::Cancelled);
        }
    }
    Ok(planned(&listening.finish()?))
}

/// The windows for what is known of a recording.
pub fn planned(activity: &Activity) -> Plan {
    let windows = windows::plan(&activity.speech, &activity.loudness, activity.samples);
    let windows = windows.into_iter().map(|Window { start, end }| (start, end)).collect();
    Plan { samples: activity.samples, windows }
}

/// Reads windows, best in their order: then each sample is decoded once.
pub struct Reader {
    decoder: Decoder,
    /// A block of which a part is needed later.
    block: Option<Block>,
    /// The sample after the last one that was decoded.
    decoded: u64,
}

impl Reader {
    /// Reads from a decoder at its start.
    pub fn new(decoder: Decoder) -> Self {
        Self { decoder, block: None, decoded: 0 }
    }

    /// The first sample that it reads without going back.
    pub fn position(&self) -> u64 {
        self.block.as_ref().map_or(self.decoded, |block| block.start)
    }

    /// The samples from `start` to `end`; fewer if the recording ends before.
    ///
    /// # Errors
    /// A refusal, or the failure of the source.
    pub fn read(&mut self, (start, end): (u64, u64)) -> Result<Vec<f32>, SoundError> {
        if start < self.position() || start > self.decoded.saturating_add(SKIPPED) {
            self.decoder.seek(time_of(start))?;
            (self.block, self.decoded) = (None, start);
        }
        let mut samples = Vec::with_capacity(usize::try_from(end.saturating_sub(start)).unwrap_or(0));
        while start + (samples.len() as u64) < end {
            let Some(block) = self.next_block()? else { break };
            let wanted = part_of(&block, start + samples.len() as u64, end);
            samples.extend_from_slice(wanted);
            if block.start + block.samples.len() as u64 > end {
                self.block = Some(block);
            }
        }
        Ok(samples)
    }

    fn next_block(&mut self) -> Result<Option<Block>, SoundError> {
        if let Some(block) = self.block.take() {
            return Ok(Some(block));
        }
        let block = self.decoder.next_block()?;
        if let Some(block) = &block {
            self.decoded = block.start + block.samples.len() as u64;
        }
        Ok(block)
    }
}

/// All samples of a file. Their memory grows with its length: it is for tests and benches.
///
/// # Errors
/// When the file cannot be read or is refused.
pub fn all_samples(path: &Path) -> Result<Vec<f32>, RecordingError> {
    let (file, bytes) = open(path).map_err(SoundError::Source)?;
    let sound = probe(file, bytes)?;
    let (file, bytes) = open(path).map_err(SoundError::Source)?;
    let mut decoder = Decoder::open(file, bytes, &sound)?;
    let mut samples = Vec::new();
    while let Some(block) = decoder.next_block()? {
        samples.extend(block.samples);
    }
    Ok(samples)
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// A window that is ready for an engine.
#[derive(Debug, Clone)]
pub struct WindowSamples {
    /// Its number, from 0.
    pub number: usize,
    /// Its first sample.
    pub start: u64,
    /// Its samples.
    pub samples: Arc<[f32]>,
}

/// The windows in their order. Each is read on a blocking thread when the stream is polled for it.
pub fn windows_of(
    reader: Reader,
    plan: &Plan,
) -> impl Stream<Item = Result<WindowSamples, RecordingError>> + Send + use<> {
    let windows = plan.windows.clone().into_iter().enumerate();
    stream::try_unfold((reader, windows), |(mut reader, mut windows)| async move {
        let Some((number, window)) = windows.next() else { return Ok(None) };
        let reading = tokio::task::spawn_blocking(move || {
            let samples = reader.read(window);
            (reader, samples)
        });
        let (reader, samples) = reading.await.map_err(|error| SpeechError::Failed(error.to_string()))?;
        let samples = Arc::from(samples?);
        Ok::<_, RecordingError>(Some((WindowSamples { number, start: window.0, samples }, (reader, windows))))
    })
}

/// The samples of a block from `start` to `end`.
fn part_of(block: &Block, start: u64, end: u64) -> &[f32] {
    let within = |sample: u64| {
        let offset = usize::try_from(sample.saturating_sub(block.start)).unwrap_or(usize::MAX);
        offset.min(block.samples.len())
    };
    block.samples.get(within(start)..within(end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_block_is_where_it_overlaps() {
        let block = Block { start: 100, samples: vec![0.0, 1.0, 2.0, 3.0] };
        for (start, end, expected) in [
            (0, 200, vec![0.0, 1.0, 2.0, 3.0]),
            (101, 103, vec![1.0, 2.0]),
            (0, 100, vec![]),
            (104, 110, vec![]),
            (103, 110, vec![3.0]),
        ] {
            assert_eq!(part_of(&block, start, end), expected, "{start}..{end}");
        }
    }
}
