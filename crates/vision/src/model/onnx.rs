//! A detector with an ONNX file: prepares the input, runs the network, decodes the candidates, suppresses overlaps, scales back.
//!
//! A [`Head`] has the parts that differ between kinds of networks; everything else is here. The images of a batch are grouped by input
//! shape, so nothing is padded beyond what the network or the provider needs, and each group is one run. Images with a large face are looked
//! at [again](super::second_look).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use contracts::DetectorName;

use super::head::Head;
use super::network::Network;
use super::nms::{Candidate, suppress, suppress_across};
use super::prepare::{Fit, Preparer, Size};
use super::second_look;
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
    /// Longer side of a box, in pixels of the input, from which there is a second look. None for a network that needs none.
    pub second_look_from: Option<u32>,
    /// Images per run on a GPU. More than one gives no advantage on a CPU.
    pub gpu_batch: usize,
    /// The label of each class, in the order of the network's output; `None` for a class that is not reported.
    pub labels: Vec<Option<String>>,
}

/// The candidates of one image, in pixels of the original, the best first.
type Found = Result<Vec<Candidate>, DetectError>;

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
        let original = size_of(image);
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
    fn run(&mut self, group: &[(usize, Fit)], batch: &[Arc<Image>]) -> Result<Vec<Found>, DetectError> {
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
            let found = group.iter().enumerate().map(|(item, (_, fit))| {
                let candidates = head.candidates(outputs, item, size, tuning.threshold)?;
                Ok(in_original(candidates, fit, tuning))
            });
            let found = found.collect();
            record_stage("suppress", started);
            Ok(found)
        })
    }

    /// What is in these images, by their index in the batch, with second looks.
    fn look(&mut self, fits: Vec<(usize, Fit)>, batch: &[Arc<Image>]) -> BTreeMap<usize, Found> {
        let mut by_input: BTreeMap<Size, Vec<(usize, Fit)>> = BTreeMap::new();
        for (index, fit) in fits {
            by_input.entry(fit.input).or_default().push((index, fit));
        }
        let mut all = BTreeMap::new();
        let max_batch = self.max_batch();
        for group in by_input.values().flat_map(|group| group.chunks(max_batch)) {
            let results = self.run(group, batch).unwrap_or_else(|error| vec![Err(error); group.len()]);
            all.extend(group.iter().map(|(index, _)| *index).zip(results));
        }
        if let Some(large) = self.tuning.second_look_from
            && self.network.shape().size.is_none()
        {
            self.look_again(&mut all, by_input.into_values().flatten().collect(), batch, large);
        }
        all
    }

    /// Replaces what was found in images with a box of at least `large` pixels of the input.
    fn look_again(
        &mut self,
        all: &mut BTreeMap<usize, Found>,
        mut fits: Vec<(usize, Fit)>,
        batch: &[Arc<Image>],
        large: u32,
    ) {
        let (side, nms_iou) = (large as f32, self.tuning.nms_iou);
        let (multiple, provider) = (self.head.input_multiple(), self.network.provider());
        // A box can reach beyond the input. An input that is smaller than a large face has none, so this ends.
        let is_needed = |(index, fit): &(usize, Fit)| {
            let found = all.get(index).and_then(|found| found.as_ref().ok());
            let fits_one = fit.scaled.width.max(fit.scaled.height) >= large;
            fits_one && found.is_some_and(|found| second_look::has_large(found, fit, side))
        };
        fits.retain(is_needed);
        if fits.is_empty() {
            return;
        }
        let halves = fits.iter().map(|(index, fit)| (*index, fit.halved(multiple, provider))).collect();
        for (index, second) in self.look(halves, batch) {
            let Some((_, fit)) = fits.iter().find(|(other, _)| *other == index) else { continue };
            let Some(Ok(first)) = all.remove(&index) else { continue };
            all.insert(index, second.map(|second| second_look::merge(first, second, fit, side, nms_iou)));
        }
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
        let fits: Vec<_> = batch.iter().map(|image| self.fit(image)).enumerate().collect();
        let found = self.look(fits, batch);
        found.into_iter().map(|(index, found)| Ok(findings(&found?, size_of(&batch[index]), &self.tuning))).collect()
    }
}

fn size_of(image: &Image) -> Size {
    Size { width: image.pixels.width(), height: image.pixels.height() }
}

/// Records the time of a stage and returns the start of the next one.
fn record_stage(name: &'static str, started: Instant) -> Instant {
    let now = Instant::now();
    metrics::stage(name, now - started);
    now
}

/// The candidates of the input that are reported, in pixels of the original: classes without a label dropped, overlaps suppressed.
fn in_original(mut candidates: Vec<Candidate>, fit: &Fit, tuning: &Tuning) -> Vec<Candidate> {
    candidates.retain(|candidate| tuning.labels.get(candidate.class).is_some_and(Option::is_some));
    let (across, down) = fit.scale_back();
    let scaled = |candidate: Candidate| Candidate {
        left: candidate.left * across,
        top: candidate.top * down,
        right: candidate.right * across,
        bottom: candidate.bottom * down,
        landmarks: candidate.landmarks.iter().map(|(x, y)| (x * across, y * down)).collect(),
        ..candidate
    };
    let mut kept = suppress(candidates, tuning.nms_iou);
    if let Some(max_iou) = tuning.label_nms_iou {
        kept = suppress_across(kept, max_iou);
    }
    kept.into_iter().map(scaled).collect()
}

/// Candidates in pixels of the original as detections of it.
fn findings(found: &[Candidate], original: Size, tuning: &Tuning) -> Findings {
    let detection = |candidate: &Candidate| {
        let label = tuning.labels.get(candidate.class)?.as_ref()?;
        to_detection(candidate, label, original.width, original.height)
    };
    found.iter().filter_map(detection).collect::<Vec<_>>().into()
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
            second_look_from: None,
            gpu_batch: 1,
            labels: vec![Some("person".to_owned()), None, Some("car".to_owned())],
        };
        let fit = Fit::fixed(Size { width: 832, height: 416 }, Size { width: 416, height: 416 });
        let all = vec![candidate(2, 0.0), candidate(1, 100.0), candidate(0, 200.0), candidate(3, 300.0)];
        let found = findings(&in_original(all, &fit, &tuning), fit.original, &tuning).detections;
        assert_eq!(found.iter().map(|found| &*found.label).collect::<Vec<_>>(), ["car", "person"]);
        let (bounds, landmark) = (found[1].bounds.unwrap(), found[1].landmarks[0]);
        assert_eq!((bounds.x, bounds.y, bounds.width, bounds.height), (400.0, 20.0, 20.0, 20.0));
        assert_eq!((landmark.x, landmark.y), (400.0, 20.0));
    }
}
