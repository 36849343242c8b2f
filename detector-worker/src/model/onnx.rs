//! A detector over an ONNX file: scale, run, decode, suppress, scale back.
//!
//! What differs from network to network is a [`Head`]; everything else is here. Pictures of one batch are grouped by input
//! shape, so nothing is padded beyond what the provider asks for, and each group is one run of the network.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use contracts::DetectorName;
use ort::session::Session;
use ort::value::TensorRef;

use super::nms::{Candidate, suppress};
use super::prepare::{Channels, Fit, Preparer, Size};
use super::{DetectError, Detector, Outcome, Picture, tidy};
use crate::meters;
use crate::runtime::{ExecutionProvider, Runtime, RuntimeError, RuntimeOptions};

/// What one kind of network does in its own way.
pub trait Head: Send {
    /// What its detections are called.
    fn label(&self) -> &'static str;

    /// The order of the colour planes it reads, each 0 to 255.
    fn channels(&self) -> Channels;

    /// Both sides of the input must be multiples of this.
    fn stride(&self) -> u32;

    /// The outputs it reads, checked when the model is opened.
    fn outputs(&self) -> &'static [&'static str];

    /// Reads the boxes of the batch's picture `item` that reach `threshold`, in pixels of the input.
    ///
    /// # Errors
    /// The outputs are not shaped as they should be for an input of this size.
    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        input: Size,
        threshold: f32,
    ) -> Result<Vec<Candidate>, DetectError>;
}

/// What is set for each model in `models.yaml`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Boxes less sure than this are not reported.
    pub threshold: f32,
    /// Boxes that share more of their joint area than this are one.
    pub nms_iou: f32,
    /// Pictures are scaled down to this many pixels on their longer side.
    pub largest_side: u32,
    /// Pictures for each run of the network on a GPU. A CPU gains nothing from more than one.
    pub gpu_batch: usize,
}

/// A detector that runs a network in this process.
pub struct OnnxDetector {
    name: DetectorName,
    model: String,
    session: Session,
    head: Box<dyn Head>,
    tuning: Tuning,
    provider: ExecutionProvider,
    batch: usize,
    preparer: Preparer,
    input: Vec<f32>,
}

impl OnnxDetector {
    /// Opens the model for the calling thread.
    ///
    /// # Errors
    /// There is no runtime, or the file is not a model of this kind.
    pub fn open(
        name: DetectorName,
        model: &str,
        file: &Path,
        head: Box<dyn Head>,
        tuning: Tuning,
        options: &RuntimeOptions,
    ) -> Result<Self, RuntimeError> {
        let session = Runtime::load(options)?.session(file, options)?;
        if let Some(missing) =
            head.outputs().iter().find(|name| session.outputs().iter().all(|output| output.name() != **name))
        {
            let cause = format!("it has no output `{missing}`, so it is another kind of model");
            return Err(RuntimeError::Model { path: file.to_path_buf(), cause });
        }
        let usual = match options.provider {
            ExecutionProvider::Cpu => 1,
            ExecutionProvider::Cuda | ExecutionProvider::Tensorrt => tuning.gpu_batch,
        };
        Ok(Self {
            name,
            model: model.to_owned(),
            session,
            head,
            tuning,
            provider: options.provider,
            batch: options.batch_size.unwrap_or(usual).max(1),
            preparer: Preparer::default(),
            input: Vec::new(),
        })
    }

    /// One run of the network over pictures that share an input shape.
    fn run(&mut self, group: &[(usize, Fit)], batch: &[Arc<Picture>]) -> Result<Vec<Outcome>, DetectError> {
        let Some((_, Fit { input, .. })) = group.first() else { return Ok(Vec::new()) };
        let (width, height) = (input.width as usize, input.height as usize);
        let planes = 3 * width * height;
        let slots = slots(group.len(), self.provider);
        let begun = Instant::now();
        self.input.resize(planes * slots, 0.0);
        for ((index, fit), planes) in group.iter().zip(self.input.chunks_exact_mut(planes)) {
            self.preparer
                .fill(&batch[*index].image, fit, self.head.channels(), planes)
                .map_err(DetectError::Inference)?;
        }
        let begun = part("prepare", begun);
        let failed = |error: ort::Error| DetectError::Inference(error.to_string());
        let tensor =
            TensorRef::from_array_view(([slots, 3, height, width], &self.input[..planes * slots])).map_err(failed)?;
        let results = self.session.run(ort::inputs![tensor]).map_err(failed)?;
        let begun = part("run", begun);
        let mut outputs = Outputs::default();
        for name in self.head.outputs() {
            let value = results.get(name).ok_or_else(|| DetectError::Inference(format!("no output {name}")))?;
            let (shape, numbers) = value.try_extract_tensor::<f32>().map_err(failed)?;
            outputs.push(name, shape, numbers);
        }
        let (head, tuning) = (&*self.head, self.tuning);
        let outcomes = group.iter().enumerate().map(|(item, (_, fit))| {
            let found = head.candidates(&outputs, item, *input, tuning.threshold)?;
            Ok(finish(found, fit, &tuning, head.label()))
        });
        let outcomes = outcomes.collect();
        part("suppress", begun);
        Ok(outcomes)
    }
}

impl Detector for OnnxDetector {
    fn name(&self) -> &DetectorName {
        &self.name
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn max_batch(&self) -> usize {
        self.batch
    }

    fn detect(&mut self, batch: &[Arc<Picture>]) -> Vec<Outcome> {
        let mut by_shape: BTreeMap<Size, Vec<(usize, Fit)>> = BTreeMap::new();
        for (index, picture) in batch.iter().enumerate() {
            let original = Size { width: picture.image.width(), height: picture.image.height() };
            let fit = Fit::plan(original, self.tuning.largest_side, self.head.stride(), self.provider);
            by_shape.entry(fit.input).or_default().push((index, fit));
        }
        let mut outcomes: Vec<Outcome> = batch.iter().map(|_| Ok(Vec::new())).collect();
        let at_once = self.max_batch();
        for group in by_shape.values().flat_map(|group| group.chunks(at_once)) {
            let answers = self.run(group, batch).unwrap_or_else(|error| vec![Err(error); group.len()]);
            for ((index, _), answer) in group.iter().zip(answers) {
                outcomes[*index] = answer;
            }
        }
        outcomes
    }
}

/// Notes how long a part of the work on a batch took; gives the time at which the next one begins.
fn part(name: &'static str, begun: Instant) -> Instant {
    let now = Instant::now();
    meters::stage(name, now - begun);
    now
}

/// Places in the input tensor: on a GPU a power of two, so that few batch shapes occur.
fn slots(pictures: usize, provider: ExecutionProvider) -> usize {
    match provider {
        ExecutionProvider::Cpu => pictures,
        ExecutionProvider::Cuda | ExecutionProvider::Tensorrt => pictures.next_power_of_two(),
    }
}

/// From boxes of the input to detections of the original, without duplicates.
fn finish(found: Vec<Candidate>, fit: &Fit, tuning: &Tuning, label: &str) -> Vec<contracts::Detection> {
    let (across, down) = fit.scale_back();
    suppress(found, tuning.nms_iou)
        .into_iter()
        .map(|candidate| Candidate {
            score: candidate.score,
            left: candidate.left * across,
            top: candidate.top * down,
            right: candidate.right * across,
            bottom: candidate.bottom * down,
            landmarks: candidate.landmarks.iter().map(|(x, y)| (x * across, y * down)).collect(),
        })
        .filter_map(|candidate| tidy(&candidate, label, fit.original.width, fit.original.height))
        .collect()
}

/// The named tensors of one run.
#[derive(Default)]
pub struct Outputs<'r> {
    tensors: Vec<(&'static str, Vec<i64>, &'r [f32])>,
}

impl<'r> Outputs<'r> {
    /// Adds a tensor: its dimensions, and its numbers in row-major order.
    pub fn push(&mut self, name: &'static str, shape: &[i64], numbers: &'r [f32]) {
        self.tensors.push((name, shape.to_vec(), numbers));
    }

    /// The numbers of batch item `item`, whose dimensions must be `shape`.
    ///
    /// # Errors
    /// There is no such output or item, or it has another shape.
    pub fn item(&self, name: &str, item: usize, shape: &[usize]) -> Result<&'r [f32], DetectError> {
        let wrong = |found: &[i64]| {
            DetectError::Inference(format!("output `{name}` has shape {found:?} instead of batch and {shape:?}"))
        };
        let (_, found, numbers) = self.tensors.iter().find(|(output, ..)| *output == name).ok_or_else(|| wrong(&[]))?;
        let matches = found.len() == shape.len() + 1
            && found[1..].iter().zip(shape).all(|(&found, &wanted)| usize::try_from(found) == Ok(wanted));
        let length: usize = shape.iter().product();
        let range = Range { start: item * length, end: (item + 1) * length };
        numbers.get(range).filter(|_| matches).ok_or_else(|| wrong(found))
    }
}
