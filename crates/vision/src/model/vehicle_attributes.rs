//! The colour of a vehicle, by vehicle-attributes-recognition-barrier-0039 of the Open Model Zoo.
//!
//! The output `color` has a probability for each colour. The network also has an output for the type of the vehicle, which is not
//! read: it is wrong for views from the side and from behind.

use contracts::AttributeName;

use super::crop_head::{CropHead, Values};
use super::head::Outputs;
use super::prepare::Channels;
use super::{DetectError, Findings};

const OUTPUT: &str = "color";
/// Name of the attribute.
const COLOUR: &str = "colour";
/// Number of colours that the network distinguishes.
const COLOURS: usize = 7;

/// Reads the colour of a vehicle.
pub struct VehicleAttributes {
    attribute: AttributeName,
    values: Values,
}

impl VehicleAttributes {
    /// A head with the names of the colours.
    ///
    /// # Errors
    /// There are more or fewer names than colours.
    pub fn new(values: Values) -> Result<Self, String> {
        if values.labels.len() != COLOURS {
            return Err(format!("this kind of network has {COLOURS} labels, not {}", values.labels.len()));
        }
        let attribute = COLOUR.parse().map_err(|error: contracts::ids::IdError| error.to_string())?;
        Ok(Self { attribute, values })
    }
}

impl CropHead for VehicleAttributes {
    fn channels(&self) -> Channels {
        Channels::Bgr
    }

    fn outputs(&self) -> &'static [&'static str] {
        &[OUTPUT]
    }

    fn add(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        findings: &mut Findings,
        detection: usize,
    ) -> Result<(), DetectError> {
        let scores = outputs.item(OUTPUT, item, &[COLOURS])?;
        let best = scores.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
        // A detection without the attribute is one whose colour is unknown.
        if let Some((colour, score)) = best
            && *score >= self.values.threshold
        {
            let colour = self.values.labels[colour].as_str();
            findings.detections[detection].attributes.set(self.attribute.clone(), colour);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use contracts::Detection;

    use super::*;

    const NAMES: [&str; COLOURS] = ["white", "gray", "yellow", "red", "green", "blue", "black"];

    fn values(threshold: f32) -> Values {
        Values { labels: NAMES.map(str::to_owned).to_vec(), threshold }
    }

    /// The colours of two detections after item 1 of a batch is added to the second one.
    fn colours(scores: [f32; COLOURS], threshold: f32) -> Result<Vec<Option<String>>, DetectError> {
        let car = Detection {
            label: "car".to_owned(),
            confidence: 0.9,
            bounds: None,
            landmarks: Vec::new(),
            attributes: contracts::Attributes::default(),
        };
        let mut findings = Findings::from(vec![car.clone(), car]);
        let numbers = [[0.0; COLOURS], scores].concat();
        let mut outputs = Outputs::default();
        outputs.push(OUTPUT, &[2, COLOURS as i64], &numbers);
        VehicleAttributes::new(values(threshold)).unwrap().add(&outputs, 1, &mut findings, 1)?;
        let colour = |found: &Detection| found.attributes.text(COLOUR).map(str::to_owned);
        Ok(findings.detections.iter().map(colour).collect())
    }

    #[test]
    fn the_most_probable_colour_is_set_on_its_detection() {
        let found = colours([0.05, 0.1, 0.05, 0.6, 0.1, 0.05, 0.05], 0.5).unwrap();
        assert_eq!(found, [None, Some("red".to_owned())]);
    }

    #[test]
    fn an_improbable_colour_is_left_out() {
        assert_eq!(colours([0.2, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1], 0.5).unwrap(), [None, None]);
        assert_eq!(colours([f32::NAN; COLOURS], 0.0).unwrap(), [None, None]);
    }

    #[test]
    fn another_number_of_names_is_refused() {
        let error = VehicleAttributes::new(Values { labels: vec!["red".to_owned()], threshold: 0.5 }).err().unwrap();
        assert!(error.contains("7 labels, not 1"), "{error}");
    }
}
