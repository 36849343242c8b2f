//! Crop models: networks that run on the crops of the boxes that a detector found.
//!
//! In: the images of a batch and what the detector found in them. Out: the same findings with what the network says about the
//! boxes. The crops of all images of the batch run together, at most `MAX_CROPS` in one run, so the memory of a run is bounded.
//! A [`CropHead`] has the parts that differ between kinds of networks.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use contracts::Detection;

use super::align::{Alignment, Template};
use super::crop_head::CropHead;
use super::network::Network;
use super::prepare::{Preparer, Region, Size};
use super::{DetectError, Image, Outcome};
use crate::metrics;
use crate::runtime::{RuntimeError, RuntimeOptions};

/// Maximum number of crops in one run of the network.
const MAX_CROPS: usize = 32;

/// Maximum number of crops of one image, the most confident boxes first. It bounds the time for an image crafted to have
/// thousands of boxes.
const MAX_CROPS_PER_IMAGE: usize = 100;

/// Which boxes a crop model runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Eligible {
    /// Labels of the boxes. Empty for all.
    pub labels: Vec<String>,
    /// Minimum width and height of the box in pixels.
    pub smallest_side: u32,
}

/// An open crop model.
pub struct CropModel {
    network: Network,
    head: Box<dyn CropHead>,
    eligible: Eligible,
    size: Size,
    preparer: Preparer,
    input: Vec<f32>,
}

/// One box of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Crop {
    /// Index of the image in the batch.
    image: usize,
    /// Index of the detection in the findings of the image.
    detection: usize,
    cut: Cut,
}

/// What is cut out of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    /// A box, stretched to the input.
    Stretched(Region),
    /// A face, aligned to the template.
    Aligned(Alignment),
}

impl CropModel {
    /// Opens the model for the calling thread.
    ///
    /// # Errors
    /// ONNX Runtime does not load, or the file is not a model of this kind with an input of fixed size.
    pub fn open(
        file: &Path,
        head: Box<dyn CropHead>,
        eligible: Eligible,
        options: &RuntimeOptions,
    ) -> Result<Self, RuntimeError> {
        let network = Network::open(file, head.outputs(), options)?;
        let size = network.shape().size.ok_or_else(|| RuntimeError::Model {
            path: file.to_path_buf(),
            cause: "its input has no fixed size".to_owned(),
        })?;
        if let Some((_, side)) = head.template()
            && size != (Size { width: side, height: side })
        {
            let cause = format!("its input has {} × {} pixels, and this kind {side} × {side}", size.width, size.height);
            return Err(RuntimeError::Model { path: file.to_path_buf(), cause });
        }
        Ok(Self { network, head, eligible, size, preparer: Preparer::default(), input: Vec::new() })
    }

    /// Adds what the network says about the boxes of `outcomes`. An image whose crops fail gets the error as its outcome, so that it
    /// is tried again.
    pub fn add(&mut self, batch: &[Arc<Image>], outcomes: &mut [Outcome]) {
        let started = Instant::now();
        let template = self.head.template().map(|(template, _)| template);
        let crops = crops(&self.eligible, template, batch, outcomes);
        for group in crops.chunks(self.network.shape().batch.unwrap_or(MAX_CROPS)) {
            if let Err(error) = self.run(group, batch, outcomes) {
                for crop in group {
                    outcomes[crop.image] = Err(error.clone());
                }
            }
        }
        if !crops.is_empty() {
            metrics::stage("crops", started.elapsed());
        }
    }

    fn run(&mut self, group: &[Crop], batch: &[Arc<Image>], outcomes: &mut [Outcome]) -> Result<(), DetectError> {
        let slots = self.network.slots(group.len());
        self.input.resize(self.size.planes() * slots, 0.0);
        for (crop, planes) in group.iter().zip(self.input.chunks_exact_mut(self.size.planes())) {
            let (pixels, channels) = (&batch[crop.image].pixels, self.head.channels());
            match crop.cut {
                Cut::Stretched(region) => self
                    .preparer
                    .fill_crop(pixels, region, self.size, channels, planes)
                    .map_err(DetectError::Inference)?,
                Cut::Aligned(alignment) => alignment.fill(pixels, self.size, channels, planes),
            }
            if let Some(normalisation) = self.head.normalisation() {
                normalisation.apply(planes, channels);
            }
        }
        let head = &*self.head;
        self.network.run(&self.input, slots, self.size, |outputs| {
            for (item, crop) in group.iter().enumerate() {
                // An earlier run of the same image may have failed.
                if let Ok(findings) = &mut outcomes[crop.image] {
                    head.add(outputs, item, findings, crop.detection)?;
                }
            }
            Ok(())
        })
    }

    /// Releases memory that earlier calls needed.
    pub fn release_memory(&mut self) {
        self.input = Vec::new();
        self.preparer = Preparer::default();
        self.network.release_memory(self.size);
    }
}

/// The eligible boxes of all images, aligned to the template if there is one. A box without landmarks is not eligible then.
fn crops(eligible: &Eligible, template: Option<&Template>, batch: &[Arc<Image>], outcomes: &[Outcome]) -> Vec<Crop> {
    let mut crops = Vec::new();
    for (image, (outcome, Image { pixels, embed_faces, .. })) in
        outcomes.iter().zip(batch.iter().map(|image| &**image)).enumerate()
    {
        let Ok(findings) = outcome else { continue };
        // Only embeddings need aligned faces.
        if template.is_some() && !embed_faces {
            continue;
        }
        let size = Size { width: pixels.width(), height: pixels.height() };
        // An engine over HTTP need not sort them.
        let mut found: Vec<_> = findings.detections.iter().enumerate().collect();
        found.sort_by(|(_, one), (_, other)| other.confidence.total_cmp(&one.confidence));
        let regions = found.into_iter().filter_map(|(detection, found)| {
            let region = eligible.region(found, size)?;
            let cut = match template {
                Some(template) => Cut::Aligned(Alignment::of(&found.landmarks, template)?),
                None => Cut::Stretched(region),
            };
            Some(Crop { image, detection, cut })
        });
        crops.extend(regions.take(MAX_CROPS_PER_IMAGE));
    }
    crops
}

impl Eligible {
    fn region(&self, detection: &Detection, image: Size) -> Option<Region> {
        if !self.labels.is_empty() && !self.labels.contains(&detection.label) {
            return None;
        }
        let region = Region::of(detection.bounds.as_ref()?, image)?;
        (region.size.width.min(region.size.height) >= self.smallest_side).then_some(region)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use contracts::{Attributes, BoundingBox};

    use super::*;
    use crate::model::Findings;
    use crate::pixels::Pixels;

    fn image(width: u32, height: u32) -> Arc<Image> {
        let pixels = Pixels::from_rgb(width, height, vec![0; (width * height * 3) as usize]).unwrap();
        Arc::new(Image { pixels, encoded: Bytes::new(), media_type: "image/png", embed_faces: true })
    }

    fn detection(label: &str, side: f64) -> Detection {
        Detection {
            label: label.to_owned(),
            confidence: 0.9,
            bounds: Some(BoundingBox { x: 1.0, y: 2.0, width: side, height: side }),
            landmarks: Vec::new(),
            attributes: Attributes::default(),
        }
    }

    fn eligible() -> Eligible {
        Eligible { labels: vec!["car".to_owned(), "bus".to_owned()], smallest_side: 8 }
    }

    #[test]
    fn crops_are_the_eligible_boxes_of_all_images() {
        let batch = [image(20, 20), image(20, 20), image(20, 20)];
        let boxless = Detection { bounds: None, ..detection("car", 8.0) };
        let outcomes = [
            Ok(vec![detection("person", 9.0), detection("car", 8.0), detection("car", 7.0), boxless].into()),
            Err(DetectError::Rejected("broken".to_owned())),
            Ok(vec![detection("bus", 30.0)].into()),
        ];
        let found = crops(&eligible(), None, &batch, &outcomes);
        let region = |width, height| Cut::Stretched(Region { left: 1, top: 2, size: Size { width, height } });
        let expected =
            [Crop { image: 0, detection: 1, cut: region(8, 8) }, Crop { image: 2, detection: 0, cut: region(19, 18) }];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_image_with_thousands_of_boxes_has_few_crops() {
        let many = Findings::from(vec![detection("car", 8.0); 5_000]);
        let found = crops(&eligible(), None, &[image(20, 20), image(20, 20)], &[Ok(many.clone()), Ok(many)]);
        assert_eq!(found.len(), 2 * MAX_CROPS_PER_IMAGE);
        assert_eq!(found.last().map(|crop| crop.detection), Some(MAX_CROPS_PER_IMAGE - 1));
    }
}
