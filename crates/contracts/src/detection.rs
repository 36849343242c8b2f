//! One object that a detector saw.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::attributes::Attributes;

/// One object in a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Detection {
    /// What it is, such as `face` or `car`: 1 to 64 characters.
    pub label: String,
    /// How sure the detector is, 0 to 1.
    pub confidence: f64,
    /// Where it is; a producer that only names what it saw sends none.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<BoundingBox>,
    /// Points on it, in the detector's order. Faces have five: right eye, left eye, nose, right and left corner of the mouth, of the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub landmarks: Vec<Point>,
    /// What else is known of it, by name.
    #[serde(default, flatten)]
    pub attributes: Attributes,
}

impl Detection {
    /// Whether every number is finite and in its range, and every text of a length worth keeping.
    ///
    /// # Errors
    /// Says which field is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.label.trim().is_empty() || self.label.chars().count() > 64 {
            return Err("label must have 1 to 64 characters".to_owned());
        }
        if !(0.0..=1.0).contains(&self.confidence) {
            return Err("confidence must be a number from 0 to 1".to_owned());
        }
        self.attributes.check()?;
        if self.landmarks.len() > 512 {
            return Err("landmarks must be at most 512".to_owned());
        }
        let points_finite = self.landmarks.iter().all(|point| point.x.is_finite() && point.y.is_finite());
        let box_sound = self.bounds.is_none_or(|bounds| bounds.is_sound());
        if !points_finite || !box_sound {
            return Err("box and landmarks must be finite numbers, width and height not negative".to_owned());
        }
        Ok(())
    }
}

/// A box in pixels of the upright original, origin top left.
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
    /// Whether the numbers describe a box.
    pub fn is_sound(&self) -> bool {
        let finite = [self.x, self.y, self.width, self.height].iter().all(|number| number.is_finite());
        finite && self.width >= 0.0 && self.height >= 0.0
    }

    /// Shared area over joint area, 0 to 1; 0 where both are empty.
    pub fn iou(&self, other: &Self) -> f64 {
        let overlap = |a: f64, a_len: f64, b: f64, b_len: f64| ((a + a_len).min(b + b_len) - a.max(b)).max(0.0);
        let shared =
            overlap(self.x, self.width, other.x, other.width) * overlap(self.y, self.height, other.y, other.height);
        let joint = self.width * self.height + other.width * other.height - shared;
        if joint > 0.0 { shared / joint } else { 0.0 }
    }
}

/// A point in pixels of the upright original, origin top left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// From the left edge.
    pub x: f64,
    /// From the top edge.
    pub y: f64,
}
