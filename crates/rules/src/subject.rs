//! What a condition is evaluated over, and the variables that it may read.
//!
//! A new variable is one line in [`VARIABLES`]. An attribute needs none: `attributes.NAME` reads it.

use std::collections::BTreeMap;

use cel::common::types::{CelBool, CelDouble, CelInt, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use contracts::ids::AlertSubject;
use contracts::{Attributes, BoundingBox, Detection, DetectorName, FrameId, StreamName};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::check::Kind;

/// What a rule is evaluated over.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// One detection of a frame.
    Detection(DetectionSubject<'a>),
}

impl Subject<'_> {
    /// What an alert about it is about: the ids of alerts derive from it.
    pub fn alert_subject(&self) -> AlertSubject {
        match self {
            Self::Detection(subject) => AlertSubject::Frame(subject.frame_id),
        }
    }
}

/// One detection with its frame. Unknown values are an empty text, 0 or false, so that no rule fails for them.
#[derive(Debug, Clone, Copy)]
pub struct DetectionSubject<'a> {
    /// The frame's id.
    pub frame_id: FrameId,
    /// The detected object.
    pub detection: &'a Detection,
    /// The frame's stream.
    pub stream: Option<&'a StreamName>,
    /// The detector that found it.
    pub detector: &'a DetectorName,
    /// Width of the frame in pixels; 0 where there was no image.
    pub width: u32,
    /// Height of the frame in pixels; 0 where there was no image.
    pub height: u32,
    /// When the image was taken.
    pub captured_at: Timestamp,
}

/// Prefix of the variables that are attributes.
pub(crate) const ATTRIBUTES: &str = "attributes.";

/// Reads the value of one variable.
type Read = for<'b> fn(&DetectionSubject<'b>) -> CowVal<'b, 'b>;

/// A variable that every condition may read.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    read: Read,
}

const fn variable(name: &'static str, kind: Kind, read: Read) -> Variable {
    Variable { name, kind, read }
}

/// Every variable, in the order of the documentation.
pub(crate) static VARIABLES: [Variable; 16] = [
    variable("label", Kind::Text, |subject| text(&subject.detection.label)),
    variable("confidence", Kind::Fraction, |subject| fraction(subject.detection.confidence)),
    variable("category", Kind::Text, |subject| text(subject.attributes().category().unwrap_or_default())),
    variable("make", Kind::Text, |subject| text(subject.attributes().make().unwrap_or_default())),
    variable("model", Kind::Text, |subject| text(subject.attributes().model().unwrap_or_default())),
    variable("year", Kind::Whole, |subject| whole(subject.attributes().year().unwrap_or_default())),
    variable("stream", Kind::Text, |subject| text(subject.stream.map(StreamName::as_str).unwrap_or_default())),
    variable("detector", Kind::Text, |subject| text(subject.detector.as_str())),
    variable("box.x", Kind::Fraction, |subject| fraction(subject.bounds().x)),
    variable("box.y", Kind::Fraction, |subject| fraction(subject.bounds().y)),
    variable("box.width", Kind::Fraction, |subject| fraction(subject.bounds().width)),
    variable("box.height", Kind::Fraction, |subject| fraction(subject.bounds().height)),
    variable("frame.width", Kind::Whole, |subject| whole(subject.width)),
    variable("frame.height", Kind::Whole, |subject| whole(subject.height)),
    variable("hour", Kind::Whole, |subject| whole(TimeZone::UTC.to_datetime(subject.captured_at).hour())),
    variable("weekday", Kind::Whole, |subject| {
        whole(TimeZone::UTC.to_datetime(subject.captured_at).weekday().to_monday_one_offset())
    }),
];

/// The variable of this name. For one of the vehicle's four, its name as an attribute finds it too.
pub(crate) fn find(name: &str) -> Option<&'static Variable> {
    let vehicle = |name: &&str| contracts::Vehicle::NAMES.contains(name);
    let name = name.strip_prefix(ATTRIBUTES).filter(vehicle).unwrap_or(name);
    VARIABLES.iter().find(|variable| variable.name == name)
}

impl<'a> DetectionSubject<'a> {
    fn attributes(&self) -> &'a Attributes {
        &self.detection.attributes
    }

    fn bounds(&self) -> BoundingBox {
        const NONE: BoundingBox = BoundingBox { x: 0.0, y: 0.0, width: 0.0, height: 0.0 };
        self.detection.bounds.unwrap_or(NONE)
    }
}

/// The variables of one evaluation: a subject, and which kind the condition takes each attribute for.
#[derive(Debug)]
pub(crate) struct Variables<'a> {
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) attributes: &'a BTreeMap<String, Kind>,
}

impl VariableResolver for Variables<'_> {
    /// Called for every mention of a variable, with its qualified name as a whole first: `box.x` needs no `box`.
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let Subject::Detection(subject) = self.subject;
        if let Some(variable) = find(name) {
            return Some((variable.read)(subject));
        }
        let name = name.strip_prefix(ATTRIBUTES)?;
        let known = subject.attributes();
        // An attribute of another kind than the condition takes it for is as good as unknown.
        Some(match self.attributes.get(name)? {
            Kind::Text => text(known.text(name).unwrap_or_default()),
            Kind::Whole | Kind::Fraction => fraction(known.number(name).unwrap_or_default()),
            Kind::Bool => CowVal::owned(CelBool::from(known.boolean(name).unwrap_or_default())),
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
