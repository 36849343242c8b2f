//! Detections: objects that a detector found.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::attributes::Attributes;

/// One object on a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Detection {
    /// Class of the object, such as `face` or `car`: 1 to 64 characters, no control characters.
    pub label: String,
    /// Confidence of the detector, 0 to 1.
    pub confidence: f64,
    /// Box of the object. Missing if the producer gives only a label.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<BoundingBox>,
    /// Points on the object, in the detector's order; at most 512. A face has five: right eye, left
    /// eye, nose, right and left corner of the mouth. Right and left are the person's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub landmarks: Vec<Point>,
    /// Further properties of the object, by name.
    #[serde(default, flatten)]
    pub attributes: Attributes,
}

/// Whether a text is a valid label, or name of a rule: 1 to 64 characters, not only blanks, and no control characters.
pub fn is_label(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 64 && !text.chars().any(char::is_control)
}

impl Detection {
    /// Checks that every number is finite and in range, and every text within its length.
    ///
    /// # Errors
    /// Names the invalid field and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if !is_label(&self.label) {
            return Err("label must have 1 to 64 characters and no control characters".to_owned());
        }
        if !(0.0..=1.0).contains(&self.confidence) {
            return Err("confidence must be a number from 0 to 1".to_owned());
        }
        self.attributes.check()?;
        if self.landmarks.len() > 512 {
            return Err("landmarks must be at most 512".to_owned());
        }
        let points_finite = self.landmarks.iter().all(|point| point.x.is_finite() && point.y.is_finite());
        let box_sound = self.bounds.is_none_or(|bounds| bounds.is_valid());
        if !points_finite || !box_sound {
            return Err("box and landmarks must be finite numbers, width and height not negative".to_owned());
        }
        Ok(())
    }
}

/// A box in pixels of the upright image; the origin is the top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    #[schema(minimum = 0)]
    pub width: f64,
    /// Height.
    #[schema(minimum = 0)]
    pub height: f64,
}

impl BoundingBox {
    /// Whether all numbers are finite, and width and height not negative.
    pub fn is_valid(&self) -> bool {
        let finite = [self.x, self.y, self.width, self.height].iter().all(|number| number.is_finite());
        finite && self.width >= 0.0 && self.height >= 0.0
    }

    /// Intersection over union, 0 to 1; 0 if both boxes are empty.
    pub fn iou(&self, other: &Self) -> f64 {
        let overlap = |a: f64, a_len: f64, b: f64, b_len: f64| ((a + a_len).min(b + b_len) - a.max(b)).max(0.0);
        let intersection =
            overlap(self.x, self.width, other.x, other.width) * overlap(self.y, self.height, other.y, other.height);
        let union = self.width * self.height + other.width * other.height - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

/// A point in pixels of the upright image; the origin is the top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// Distance from the left edge.
    pub x: f64,
    /// Distance from the top edge.
    pub y: f64,
}
