//! A detector with an ONNX file: prepares the input, runs the network, decodes the candidates, suppresses overlaps, scales back.
//!
//! A [`Head`] has the parts that differ between kinds of networks; everything else is here. The images of a batch are grouped by input
//! shape, so nothing is padded beyond what the network or the provider needs, and each group is one run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use contracts::DetectorName;

use super::head::Head;
use super::network::Network;
use super::nms::{Candidate, suppress, suppress_across};
use super::prepare::{Fit, Preparer, Size};
use super::{DetectError, Detector, Findings, Image, Outcome, to_detection};
use crate::metrics;
use crate::runtime::{ExecutionProvider, RuntimeError, RuntimeOptions};

/// The settings of a model in `models.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Minimum score of a detection, 0 to 1.
    pub threshold: f32,
    /// Maximum intersection over union of two boxes of one class, 0 to 1.
    pub nms_iou: f32,
    /// Maximum intersection over union of two boxes of different reported classes, 0 to 1. None if each class is looked at alone.
    pub label_nms_iou: Option<f32>,
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
    network: Network,
    head: Box<dyn Head>,
    tuning: Tuning,
    batch: usize,
    preparer: Preparer,
    input: Vec<f32>,
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
        let network = Network::open(file, head.outputs(), options)?;
        let default_batch = match options.provider {
            ExecutionProvider::Cpu => 1,
            ExecutionProvider::Cuda | ExecutionProvider::Tensorrt => tuning.gpu_batch,
        };
        Ok(Self {
            name,
            model: model.to_owned(),
            batch: network.shape().batch.or(options.batch_size).unwrap_or(default_batch).max(1),
            network,
            head,
            tuning,
            preparer: Preparer::default(),
            input: Vec::new(),
        })
    }

    fn fit(&self, image: &Image) -> Fit {
        let original = Size { width: image.pixels.width(), height: image.pixels.height() };
        match self.network.shape().size {
            Some(input) if self.head.keeps_proportions() => Fit::fixed(original, input),
            Some(input) => Fit::stretched(original, input),
            None => {
                let (multiple, provider) = (self.head.input_multiple(), self.network.provider());
                Fit::dynamic(original, self.tuning.largest_side, multiple, provider)
            }
        }
    }

    /// One run of the network over images that share an input size.
    fn run(&mut self, group: &[(usize, Fit)], batch: &[Arc<Image>]) -> Result<Vec<Outcome>, DetectError> {
        let Some(&(_, Fit { input: size, .. })) = group.first() else { return Ok(Vec::new()) };
        let (started, slots) = (Instant::now(), self.network.slots(group.len()));
        self.input.resize(size.planes() * slots, 0.0);
        let (head, tuning) = (&*self.head, &self.tuning);
        for ((index, fit), planes) in group.iter().zip(self.input.chunks_exact_mut(size.planes())) {
            self.preparer
                .fill(&batch[*index].pixels, fit, head.channels(), head.padding(), planes)
                .map_err(DetectError::Inference)?;
            if let Some(normalisation) = head.normalisation() {
                normalisation.apply(planes, head.channels());
            }
        }
        let started = record_stage("prepare", started);
        self.network.run(&self.input, slots, size, |outputs| {
            let started = record_stage("run", started);
            let outcomes = group.iter().enumerate().map(|(item, (_, fit))| {
                let candidates = head.candidates(outputs, item, size, tuning.threshold)?;
                Ok(findings(candidates, fit, tuning))
            });
            let outcomes = outcomes.collect();
            record_stage("suppress", started);
            Ok(outcomes)
        })
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
        let side = self.head.input_multiple();
        self.network.release_memory(Size { width: side, height: side });
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

/// Records the time of a stage and returns the start of the next one.
fn record_stage(name: &'static str, started: Instant) -> Instant {
    let now = Instant::now();
    metrics::stage(name, now - started);
    now
}

/// Candidates of the input as detections of the original image: classes without a label dropped, overlaps suppressed.
fn findings(mut candidates: Vec<Candidate>, fit: &Fit, tuning: &Tuning) -> Findings {
    candidates.retain(|candidate| tuning.labels.get(candidate.class).is_some_and(Option::is_some));
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
    let mut kept = suppress(candidates, tuning.nms_iou);
    if let Some(max_iou) = tuning.label_nms_iou {
        kept = suppress_across(kept, max_iou);
    }
    kept.into_iter().filter_map(detection).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            label_nms_iou: None,
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
