//! What a condition may ask about a detection: the variables, their kinds, and where their values come from.

use cel::common::types::{CelDouble, CelInt, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use contracts::{BoundingBox, Detection, DetectorName, StreamName};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::check::Kind;

/// One detection with what is known of its frame. What is unknown is an empty text or 0, so that no rule fails for it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What was seen.
    pub detection: &'a Detection,
    /// The frame's stream.
    pub stream: Option<&'a StreamName>,
    /// Who saw it.
    pub detector: &'a DetectorName,
    /// Width of the frame in pixels; 0 where there was no image.
    pub width: u32,
    /// Height of the frame in pixels; 0 where there was no image.
    pub height: u32,
    /// When the image was taken.
    pub captured_at: Timestamp,
}

/// Every variable with its kind, in the order of the documentation.
pub(crate) const VARIABLES: [(&str, Kind); 16] = [
    ("label", Kind::Text),
    ("confidence", Kind::Fraction),
    ("category", Kind::Text),
    ("make", Kind::Text),
    ("model", Kind::Text),
    ("year", Kind::Whole),
    ("stream", Kind::Text),
    ("detector", Kind::Text),
    ("box.x", Kind::Fraction),
    ("box.y", Kind::Fraction),
    ("box.width", Kind::Fraction),
    ("box.height", Kind::Fraction),
    ("frame.width", Kind::Whole),
    ("frame.height", Kind::Whole),
    ("hour", Kind::Whole),
    ("weekday", Kind::Whole),
];

const NO_BOX: BoundingBox = BoundingBox { x: 0.0, y: 0.0, width: 0.0, height: 0.0 };

impl VariableResolver for Facts<'_> {
    /// Called for every mention of a variable. A qualified name is asked for as a whole first, so `box.x` needs no box.
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let vehicle = &self.detection.vehicle;
        let bounds = || self.detection.bounds.unwrap_or(NO_BOX);
        Some(match variable {
            "label" => text(&self.detection.label),
            "confidence" => fraction(self.detection.confidence),
            "category" => text(vehicle.category.as_deref().unwrap_or_default()),
            "make" => text(vehicle.make.as_deref().unwrap_or_default()),
            "model" => text(vehicle.model.as_deref().unwrap_or_default()),
            "year" => whole(vehicle.year.unwrap_or_default()),
            "stream" => text(self.stream.map(StreamName::as_str).unwrap_or_default()),
            "detector" => text(self.detector.as_str()),
            "box.x" => fraction(bounds().x),
            "box.y" => fraction(bounds().y),
            "box.width" => fraction(bounds().width),
            "box.height" => fraction(bounds().height),
            "frame.width" => whole(self.width),
            "frame.height" => whole(self.height),
            "hour" => whole(TimeZone::UTC.to_datetime(self.captured_at).hour()),
            "weekday" => whole(TimeZone::UTC.to_datetime(self.captured_at).weekday().to_monday_one_offset()),
            _ => return None,
        })
    }
}

fn text(value: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(value))
}

fn whole<'b>(value: impl Into<i64>) -> CowVal<'b, 'b> {
    CowVal::owned(CelInt::from(value.into()))
}

fn fraction<'b>(value: f64) -> CowVal<'b, 'b> {
    CowVal::owned(CelDouble::from(value))
}
