//! Where somebody speaks: Silero VAD over a recording. Blocking.
//!
//! In: 16 kHz samples in blocks of any size. Out: the spans with speech, and how loud each twentieth of a second is. Memory does not depend
//! on the samples but for these: some 4 MB for ten hours.

use std::ops::Range;

use models::FolderArgs;
use onnx::{ExecutionProvider, OnnxArgs, SessionOptions, VoiceDetector};

use super::error::SpeechError;
use super::spans::Spans;

/// The name and the kind of the model in `models.yaml`.
const MODEL: &str = "silero-vad";
const KIND: &str = "silero_vad";

/// Samples of a value of loudness: a twentieth of a second.
const LOUDNESS: usize = 800;

/// The open network. It needs some 10 MiB.
pub struct Vad {
    network: VoiceDetector,
}

/// What is known of a recording before its words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Activity {
    /// Samples with speech; sorted, and apart from each other.
    pub speech: Vec<Range<u64>>,
    /// Root mean square of each twentieth of a second.
    pub loudness: Vec<f32>,
    /// Number of all samples.
    pub samples: u64,
}

/// A recording while it is listened to.
pub struct Listening<'a> {
    network: &'a mut VoiceDetector,
    /// Samples of a step that is not full.
    step: Vec<f32>,
    spans: Spans,
    loudness: Vec<f32>,
    /// Sum of squares of a twentieth of a second that is not full, and its samples.
    squares: (f32, usize),
    samples: u64,
}

impl Vad {
    /// Reads the file, and opens it on the CPU with one thread: a step is too short for more.
    ///
    /// # Errors
    /// When the file is not in the folder, or ONNX Runtime does not start.
    pub fn open(folder: &FolderArgs, runtime: &OnnxArgs) -> Result<Self, SpeechError> {
        let files = folder.open(MODEL, KIND)?;
        let options = runtime.options(folder.dir(), 1);
        let options = SessionOptions { provider: ExecutionProvider::Cpu, ..options };
        Ok(Self { network: VoiceDetector::open(&files.path, &options)? })
    }

    /// Begins a recording.
    pub fn listen(&mut self) -> Listening<'_> {
        self.network.reset();
        let step = Vec::with_capacity(VoiceDetector::STEP);
        Listening {
            network: &mut self.network,
            step,
            spans: Spans::default(),
            loudness: Vec::new(),
            squares: (0.0, 0),
            samples: 0,
        }
    }
}

impl Listening<'_> {
    /// The next samples.
    ///
    /// # Errors
    /// When the network fails.
    pub fn push(&mut self, mut samples: &[f32]) -> Result<(), SpeechError> {
        self.samples += samples.len() as u64;
        self.measure(samples);
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(VoiceDetector::STEP - self.step.len()));
            self.step.extend_from_slice(now);
            samples = later;
            if self.step.len() == VoiceDetector::STEP {
                self.end_step()?;
            }
        }
        Ok(())
    }

    /// The end of the recording.
    ///
    /// # Errors
    /// When the network fails.
    pub fn finish(mut self) -> Result<Activity, SpeechError> {
        if !self.step.is_empty() {
            self.step.resize(VoiceDetector::STEP, 0.0);
            self.end_step()?;
        }
        if self.squares.1 > 0 {
            self.end_loudness();
        }
        Ok(Activity { speech: self.spans.finish(self.samples), loudness: self.loudness, samples: self.samples })
    }

    fn end_step(&mut self) -> Result<(), SpeechError> {
        let mut step = [0.0; VoiceDetector::STEP];
        step.copy_from_slice(&self.step);
        self.step.clear();
        let probability = self.network.probability(&step)?;
        self.spans.push(probability, VoiceDetector::STEP as u64);
        Ok(())
    }

    fn measure(&mut self, samples: &[f32]) {
        for sample in samples {
            self.squares.0 += sample * sample;
            self.squares.1 += 1;
            if self.squares.1 == LOUDNESS {
                self.end_loudness();
            }
        }
    }

    fn end_loudness(&mut self) {
        let (sum, count) = std::mem::take(&mut self.squares);
        self.loudness.push((sum / count as f32).sqrt());
    }
}
