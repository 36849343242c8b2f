//! A detector with an ONNX file: prepares the input, runs the network, decodes the candidates, suppresses overlaps, scales back.
//!
//! A [`Head`] has the parts that differ between kinds of networks; everything else is here. The images of a batch are grouped by input
//! shape, so nothing is padded beyond what the network or the provider needs, and each group is one run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use contracts::DetectorName;
use ort::memory::Allocator;
use ort::session::{OutputSelector, RunOptions, Session};
use ort::value::{Tensor, TensorRef};
use platform::error_chain;

use super::head::{Head, Outputs};
use super::nms::{Candidate, suppress};
use super::prepare::{Fit, Preparer, Size};
use super::{DetectError, Detector, Findings, Image, Outcome, to_detection};
use crate::metrics;
use crate::runtime::{ExecutionProvider, Runtime, RuntimeError, RuntimeOptions};

/// The settings of a model in `models.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Minimum score of a detection, 0 to 1.
    pub threshold: f32,
    /// Maximum intersection over union of two boxes of one class, 0 to 1.
    pub nms_iou: f32,
    /// Longest side of the input in pixels, for a network with dynamic input.
    pub largest_side: u32,
    /// Images per run on a GPU. More than one gives no advantage on a CPU.
    pub gpu_batch: usize,
    /// The label of each class, in the order of the network's output; `None` for a class that is not reported.
    pub labels: Vec<Option<String>>,
}

/// A detector that runs a network in this process.
pub struct OnnxDetector {
    name: DetectorName,
    model: String,
    session: Session,
    head: Box<dyn Head>,
    tuning: Tuning,
    provider: ExecutionProvider,
    shape: InputShape,
    batch: usize,
    preparer: Preparer,
    input: Vec<f32>,
}

/// The fixed dimensions in the network's declaration of its input, `[batch, 3, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct InputShape {
    /// The only batch size.
    batch: Option<usize>,
    /// The only size.
    size: Option<Size>,
}

impl OnnxDetector {
    /// Opens the model for the calling thread.
    ///
    /// # Errors
    /// ONNX Runtime does not load, or the file is not a model of this kind.
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
        let default_batch = match options.provider {
            ExecutionProvider::Cpu => 1,
            ExecutionProvider::Cuda | ExecutionProvider::Tensorrt => tuning.gpu_batch,
        };
        let shape = InputShape::of(&session);
        Ok(Self {
            name,
            model: model.to_owned(),
            session,
            head,
            tuning,
            provider: options.provider,
            shape,
            batch: shape.batch.or(options.batch_size).unwrap_or(default_batch).max(1),
            preparer: Preparer::default(),
            input: Vec::new(),
        })
    }

    /// ONNX Runtime releases an arena only at the end of a run, so this runs the network on its smallest input.
    fn shrink_arena(&mut self) -> Result<(), ort::Error> {
        let multiple = self.head.input_multiple();
        let Size { width, height } = self.shape.size.unwrap_or(Size { width: multiple, height: multiple });
        let shape = [self.shape.batch.unwrap_or(1), 3, height as usize, width as usize];
        let blank = vec![0_f32; shape.iter().product()];
        let input = || TensorRef::from_array_view((shape, &blank[..]));
        // An output in the arena would keep a whole region of it alive, so the outputs get separate memory.
        let mut outputs = OutputSelector::no_default();
        let sample = self.session.run(ort::inputs![input()?])?;
        for name in self.head.outputs() {
            if let Some(value) = sample.get(name) {
                let (dimensions, _) = value.try_extract_tensor::<f32>()?;
                let own = Tensor::<f32>::new(&Allocator::default(), dimensions.clone())?;
                outputs = outputs.with(*name).preallocate(*name, own);
            }
        }
        drop(sample);
        let mut options = RunOptions::new()?.with_outputs(outputs);
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
        self.session.run_with_options(ort::inputs![input()?], &options)?;
        Ok(())
    }

    fn fit(&self, image: &Image) -> Fit {
        let original = Size { width: image.pixels.width(), height: image.pixels.height() };
        match self.shape.size {
            Some(input) => Fit::fixed(original, input),
            None => Fit::dynamic(original, self.tuning.largest_side, self.head.input_multiple(), self.provider),
        }
    }

    /// One run of the network over images that share an input size.
    fn run(&mut self, group: &[(usize, Fit)], batch: &[Arc<Image>]) -> Result<Vec<Outcome>, DetectError> {
        let Some((_, Fit { input, .. })) = group.first() else { return Ok(Vec::new()) };
        let (width, height) = (input.width as usize, input.height as usize);
        let planes = 3 * width * height;
        let slots = self.shape.batch.unwrap_or_else(|| slots(group.len(), self.provider));
        let started = Instant::now();
        self.input.resize(planes * slots, 0.0);
        let (channels, padding) = (self.head.channels(), self.head.padding());
        for ((index, fit), planes) in group.iter().zip(self.input.chunks_exact_mut(planes)) {
            self.preparer
                .fill(&batch[*index].pixels, fit, channels, padding, planes)
                .map_err(DetectError::Inference)?;
        }
        let started = record_stage("prepare", started);
        let failed = |error: ort::Error| DetectError::Inference(error.to_string());
        let tensor =
            TensorRef::from_array_view(([slots, 3, height, width], &self.input[..planes * slots])).map_err(failed)?;
        let results = self.session.run(ort::inputs![tensor]).map_err(failed)?;
        let started = record_stage("run", started);
        let mut outputs = Outputs::default();
        for name in self.head.outputs() {
            let value = results.get(name).ok_or_else(|| DetectError::Inference(format!("no output {name}")))?;
            let (shape, numbers) = value.try_extract_tensor::<f32>().map_err(failed)?;
            outputs.push(name, shape, numbers);
        }
        let (head, tuning) = (&*self.head, &self.tuning);
        let outcomes = group.iter().enumerate().map(|(item, (_, fit))| {
            let candidates = head.candidates(&outputs, item, *input, tuning.threshold)?;
            Ok(findings(candidates, fit, tuning))
        });
        let outcomes = outcomes.collect();
        record_stage("suppress", started);
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

    fn release_memory(&mut self) {
        self.input = Vec::new();
        self.preparer = Preparer::default();
        if self.provider == ExecutionProvider::Cpu
            && let Err(error) = self.shrink_arena()
        {
            tracing::warn!(error = error_chain(&error), "ONNX Runtime did not release memory");
        }
    }

    fn detect(&mut self, batch: &[Arc<Image>]) -> Vec<Outcome> {
        let mut by_input: BTreeMap<Size, Vec<(usize, Fit)>> = BTreeMap::new();
        for (index, image) in batch.iter().enumerate() {
            let fit = self.fit(image);
            by_input.entry(fit.input).or_default().push((index, fit));
        }
        let mut outcomes: Vec<Outcome> = batch.iter().map(|_| Ok(Findings::default())).collect();
        let max_batch = self.max_batch();
        for group in by_input.values().flat_map(|group| group.chunks(max_batch)) {
            let results = self.run(group, batch).unwrap_or_else(|error| vec![Err(error); group.len()]);
            for ((index, _), outcome) in group.iter().zip(results) {
                outcomes[*index] = outcome;
            }
        }
        outcomes
    }
}

impl InputShape {
    fn of(session: &Session) -> Self {
        let shape = session.inputs().first().and_then(|input| input.dtype().tensor_shape());
        shape.map_or(Self::default(), |shape| Self::declared(shape))
    }

    /// From the declared dimensions, in which a negative number is a dynamic one.
    fn declared(dimensions: &[i64]) -> Self {
        let &[batch, _, height, width] = dimensions else { return Self::default() };
        let fixed = |side: i64| u32::try_from(side).ok().filter(|side| *side > 0);
        Self {
            batch: usize::try_from(batch).ok().filter(|batch| *batch > 0),
            size: fixed(width).zip(fixed(height)).map(|(width, height)| Size { width, height }),
        }
    }
}

/// Records the time of a stage and returns the start of the next one.
fn record_stage(name: &'static str, started: Instant) -> Instant {
    let now = Instant::now();
    metrics::stage(name, now - started);
    now
}

/// Batch size of the input tensor: on a GPU a power of two, so that few batch shapes occur.
fn slots(images: usize, provider: ExecutionProvider) -> usize {
    match provider {
        ExecutionProvider::Cpu => images,
        ExecutionProvider::Cuda | ExecutionProvider::Tensorrt => images.next_power_of_two(),
    }
}

/// Candidates of the input as detections of the original image: overlaps suppressed, classes without a label dropped.
fn findings(candidates: Vec<Candidate>, fit: &Fit, tuning: &Tuning) -> Findings {
    let (across, down) = fit.scale_back();
    let detection = |candidate: Candidate| {
        let label = tuning.labels.get(candidate.class)?.as_ref()?;
        let original = Candidate {
            left: candidate.left * across,
            top: candidate.top * down,
            right: candidate.right * across,
            bottom: candidate.bottom * down,
            landmarks: candidate.landmarks.iter().map(|(x, y)| (x * across, y * down)).collect(),
            ..candidate
        };
        to_detection(&original, label, fit.original.width, fit.original.height)
    };
    suppress(candidates, tuning.nms_iou).into_iter().filter_map(detection).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_input_shape_has_its_fixed_dimensions() {
        let size = Some(Size { width: 416, height: 320 });
        assert_eq!(InputShape::declared(&[1, 3, 320, 416]), InputShape { batch: Some(1), size });
        assert_eq!(InputShape::declared(&[-1, 3, 320, 416]), InputShape { batch: None, size });
        assert_eq!(InputShape::declared(&[-1, 3, -1, -1]), InputShape::default());
        assert_eq!(InputShape::declared(&[1, 3]), InputShape::default());
    }

    #[test]
    fn a_candidate_becomes_a_labelled_box_of_the_original() {
        let candidate = |class, left: f32| Candidate {
            class,
            score: 0.5,
            left,
            top: 10.0,
            right: left + 10.0,
            bottom: 20.0,
            landmarks: vec![(left, 10.0)],
        };
        let tuning = Tuning {
            threshold: 0.3,
            nms_iou: 0.45,
            largest_side: 416,
            gpu_batch: 1,
            labels: vec![Some("person".to_owned()), None, Some("car".to_owned())],
        };
        let fit = Fit::fixed(Size { width: 832, height: 416 }, Size { width: 416, height: 416 });
        let all = vec![candidate(2, 0.0), candidate(1, 100.0), candidate(0, 200.0), candidate(3, 300.0)];
        let found = findings(all, &fit, &tuning).detections;
        assert_eq!(found.iter().map(|found| &*found.label).collect::<Vec<_>>(), ["car", "person"]);
        let (bounds, landmark) = (found[1].bounds.unwrap(), found[1].landmarks[0]);
        assert_eq!((bounds.x, bounds.y, bounds.width, bounds.height), (400.0, 20.0, 20.0, 20.0));
        assert_eq!((landmark.x, landmark.y), (400.0, 20.0));
    }
}
