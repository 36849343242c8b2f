//! Two stages: a detector finds boxes, then crop models run on them.
//!
//! The stages are independent: any detector can be the first, also an engine behind HTTP, and a crop model sees only images and
//! boxes. The second stage gets the whole batch of the first, so that the crops of all its images run together.

use std::sync::Arc;

use contracts::{AttributeName, DetectorName};

use super::crops::CropModel;
use super::{DetectError, Detector, Image, Outcome};

/// A detector whose detections get further attributes.
pub struct TwoStage {
    /// Finds the boxes.
    pub first: Box<dyn Detector>,
    /// The attribute that repeats the label, if there is one.
    pub label_attribute: Option<AttributeName>,
    /// The models that run on the boxes, one after the other.
    pub crop_models: Vec<CropModel>,
}

impl Detector for TwoStage {
    fn name(&self) -> &DetectorName {
        self.first.name()
    }

    fn model(&self) -> &str {
        self.first.model()
    }

    fn max_batch(&self) -> usize {
        self.first.max_batch()
    }

    fn detect(&mut self, batch: &[Arc<Image>]) -> Vec<Outcome> {
        let mut outcomes = self.first.detect(batch);
        for detection in outcomes.iter_mut().flatten().flat_map(|findings| &mut findings.detections) {
            if let Some(name) = &self.label_attribute {
                detection.attributes.set(name.clone(), detection.label.clone());
            }
        }
        for model in &mut self.crop_models {
            model.add(batch, &mut outcomes);
        }
        outcomes.into_iter().map(within_bounds).collect()
    }

    fn release_memory(&mut self) {
        self.first.release_memory();
        for model in &mut self.crop_models {
            model.release_memory();
        }
    }
}

/// An engine behind HTTP may give a detection so many attributes that there is no room for more. No consumer would accept the result.
fn within_bounds(outcome: Outcome) -> Outcome {
    let findings = outcome?;
    match findings.detections.iter().find_map(|detection| detection.check().err()) {
        Some(reason) => Err(DetectError::Rejected(reason)),
        None => Ok(findings),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use contracts::{Attributes, Detection};

    use super::*;
    use crate::pixels::Pixels;

    /// Finds one car with this number of attributes.
    struct OneCar(DetectorName, usize);

    impl Detector for OneCar {
        fn name(&self) -> &DetectorName {
            &self.0
        }

        fn model(&self) -> &'static str {
            "one_car"
        }

        fn max_batch(&self) -> usize {
            1
        }

        fn detect(&mut self, batch: &[Arc<Image>]) -> Vec<Outcome> {
            let mut attributes = Attributes::default();
            for number in 0..self.1 {
                attributes.set(format!("a{number}").parse().unwrap(), 1);
            }
            let car =
                Detection { label: "car".to_owned(), confidence: 0.9, bounds: None, landmarks: Vec::new(), attributes };
            batch.iter().map(|_| Ok(vec![car.clone()].into())).collect()
        }
    }

    fn outcome(attributes: usize, label_attribute: Option<&str>) -> Outcome {
        let mut detector = TwoStage {
            first: Box::new(OneCar("vehicle".parse().unwrap(), attributes)),
            label_attribute: label_attribute.map(|name| name.parse().unwrap()),
            crop_models: Vec::new(),
        };
        let pixels = Pixels::from_rgb(1, 1, vec![0; 3]).unwrap();
        detector
            .detect(&[Arc::new(Image { pixels, encoded: Bytes::new(), media_type: "image/png", embed_faces: false })])
            .remove(0)
    }

    #[test]
    fn the_label_is_repeated_as_an_attribute() {
        assert_eq!(outcome(0, Some("category")).unwrap().detections[0].attributes.category(), Some("car"));
        assert_eq!(outcome(0, None).unwrap().detections[0].attributes, Attributes::default());
    }

    #[test]
    fn a_detection_without_room_for_an_attribute_is_rejected() {
        assert!(outcome(15, Some("category")).is_ok());
        assert!(matches!(outcome(16, Some("category")), Err(DetectError::Rejected(_))));
    }
}
