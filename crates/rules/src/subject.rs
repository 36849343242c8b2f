//! The subject of a condition, and the variables that a condition can read.
//!
//! A new variable needs one line in [`VARIABLES`], and one at the same place in the table of
//! `docs/RULES.md`. An attribute needs no line: conditions read it as `attributes.NAME`.

use std::collections::{BTreeMap, BTreeSet};

use cel::common::types::{CelBool, CelDouble, CelInt, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use contracts::ids::AlertSubject;
use contracts::{Attributes, BoundingBox, Detection, DetectorName, FrameId, StreamName, WatchlistName};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::check::ValueType;
use crate::watchlists::Watchlists;

/// The object that a rule is evaluated on.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// One detection of a frame.
    Detection(DetectionSubject<'a>),
}

impl Subject<'_> {
    /// The subject of an alert, from which the alert id derives.
    pub fn alert_subject(&self) -> AlertSubject {
        match self {
            Self::Detection(subject) => AlertSubject::Frame(subject.frame_id),
        }
    }

    /// Those of these watchlists that have the enrolled person whose face it is.
    pub(crate) fn lists_among(&self, names: &BTreeSet<WatchlistName>) -> Vec<String> {
        let Self::Detection(subject) = self;
        let person = subject.attributes().text("subject").unwrap_or_default();
        names.iter().filter(|name| subject.watchlists.contains(name, person)).map(ToString::to_string).collect()
    }
}

/// A detection with its frame. A missing value is an empty text, 0 or false in a condition, so that no rule fails because of it.
#[derive(Debug, Clone, Copy)]
pub struct DetectionSubject<'a> {
    /// Id of the frame.
    pub frame_id: FrameId,
    /// The detection.
    pub detection: &'a Detection,
    /// Stream of the frame.
    pub stream: Option<&'a StreamName>,
    /// The detector that found it.
    pub detector: &'a DetectorName,
    /// Width of the upright image in pixels; 0 if there is no image.
    pub width: u32,
    /// Height of the upright image in pixels; 0 if there is no image.
    pub height: u32,
    /// Capture time of the frame.
    pub captured_at: Timestamp,
    /// The watchlists of the tenant.
    pub watchlists: &'a Watchlists,
}

/// Largest size of a text that a variable has, in bytes: 128 characters of a vehicle's make. [`Detection::check`] refuses more.
pub(crate) const LONGEST_TEXT: usize = 512;
/// Prefix of attributes in conditions.
pub(crate) const ATTRIBUTES: &str = "attributes.";

/// Reads the value of one variable.
type Read = for<'b> fn(&DetectionSubject<'b>) -> CowVal<'b, 'b>;

/// A variable that conditions can read.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) value_type: ValueType,
    read: Read,
}

const fn variable(name: &'static str, value_type: ValueType, read: Read) -> Variable {
    Variable { name, value_type, read }
}

/// All variables, in the order of `docs/RULES.md`.
pub(crate) static VARIABLES: &[Variable] = &[
    variable("label", ValueType::Text, |subject| text(&subject.detection.label)),
    variable("confidence", ValueType::Fraction, |subject| fraction(subject.detection.confidence)),
    variable("category", ValueType::Text, |subject| text(subject.attributes().category().unwrap_or_default())),
    variable("make", ValueType::Text, |subject| text(subject.attributes().make().unwrap_or_default())),
    variable("model", ValueType::Text, |subject| text(subject.attributes().model().unwrap_or_default())),
    variable("year", ValueType::Whole, |subject| whole(subject.attributes().year().unwrap_or_default())),
    variable("subject", ValueType::Text, |subject| text(subject.attributes().text("subject").unwrap_or_default())),
    variable("unknown", ValueType::Bool, |subject| boolean(subject.attributes().text("identity") == Some("unknown"))),
    variable("stream", ValueType::Text, |subject| text(subject.stream.map(StreamName::as_str).unwrap_or_default())),
    variable("detector", ValueType::Text, |subject| text(subject.detector.as_str())),
    variable("box.x", ValueType::Fraction, |subject| fraction(subject.bounds().x)),
    variable("box.y", ValueType::Fraction, |subject| fraction(subject.bounds().y)),
    variable("box.width", ValueType::Fraction, |subject| fraction(subject.bounds().width)),
    variable("box.height", ValueType::Fraction, |subject| fraction(subject.bounds().height)),
    variable("frame.width", ValueType::Whole, |subject| whole(subject.width)),
    variable("frame.height", ValueType::Whole, |subject| whole(subject.height)),
    variable("hour", ValueType::Whole, |subject| whole(TimeZone::UTC.to_datetime(subject.captured_at).hour())),
    variable("weekday", ValueType::Whole, |subject| {
        whole(TimeZone::UTC.to_datetime(subject.captured_at).weekday().to_monday_one_offset())
    }),
];

/// The variable of this name. The four variables of a vehicle are also found as attributes: `attributes.make` is `make`.
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

/// The values of variables in one evaluation, and the type that the condition expects of each attribute.
#[derive(Debug)]
pub(crate) struct VariableValues<'a> {
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) attributes: &'a BTreeMap<String, ValueType>,
}

impl VariableResolver for VariableValues<'_> {
    /// CEL calls this for every variable, first with the qualified name: `box.x` before `box`.
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let Subject::Detection(subject) = self.subject;
        if let Some(variable) = find(name) {
            return Some((variable.read)(subject));
        }
        let name = name.strip_prefix(ATTRIBUTES)?;
        let known = subject.attributes();
        // An attribute of another type than the condition expects counts as missing.
        Some(match self.attributes.get(name)? {
            ValueType::Text => text(known.text(name).unwrap_or_default()),
            ValueType::Whole | ValueType::Fraction => fraction(known.number(name).unwrap_or_default()),
            ValueType::Bool => boolean(known.boolean(name).unwrap_or_default()),
        })
    }
}

fn boolean<'b>(value: bool) -> CowVal<'b, 'b> {
    CowVal::owned(CelBool::from(value))
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

#[cfg(test)]
mod tests {
    use contracts::Vehicle;

    use super::*;

    /// The names in the first column of the table of variables.
    fn documented() -> Vec<&'static str> {
        let text = include_str!("../../../docs/RULES.md");
        let section = text.split("## Variables of a condition").nth(1).unwrap().split("##").next().unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        cells.flat_map(|cell| cell.split([',', '`', ' '])).filter(|name| !name.is_empty()).collect()
    }

    /// The cost of a condition relies on this bound.
    #[test]
    fn no_text_is_longer_than_the_cost_assumes() {
        let longest = |length: usize| Some("\u{1F697}".repeat(length));
        let vehicle = Vehicle { category: longest(128), make: longest(128), model: longest(128), year: None };
        let mut detection = Detection {
            label: longest(64).unwrap(),
            confidence: 0.5,
            bounds: None,
            landmarks: Vec::new(),
            attributes: vehicle.into(),
        };
        assert_eq!(detection.check(), Ok(()));
        let texts = [detection.label.as_str(), detection.attributes.make().unwrap()];
        assert!(texts.iter().all(|text| text.len() <= LONGEST_TEXT), "{texts:?}");
        assert!("x".repeat(LONGEST_TEXT + 1).parse::<StreamName>().is_err());
        assert!("x".repeat(LONGEST_TEXT + 1).parse::<DetectorName>().is_err());
        detection.attributes.set("make".parse().unwrap(), longest(129).unwrap());
        assert!(detection.check().is_err());
        detection.attributes.set("make".parse().unwrap(), "");
        detection.attributes.set("colour".parse().unwrap(), "x".repeat(LONGEST_TEXT + 1));
        assert!(detection.check().is_err());
    }

    #[test]
    fn the_documented_variables_are_those_that_exist() {
        let known: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        let documented: Vec<&str> = documented().into_iter().filter(|name| *name != "attributes.NAME").collect();
        assert_eq!(documented, known);
    }
}
