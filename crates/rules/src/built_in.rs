//! The built-in rules.

use clap::{ArgAction, Args};
use contracts::{Rule, RuleId};

/// Name of the rule that matches faces.
pub const FACE_SEEN: &str = "face-seen";
/// Name of the rule that matches vehicles of the suspicious category.
pub const SUSPICIOUS_VEHICLE: &str = "suspicious-vehicle";

/// Settings of the built-in rules.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BuiltInRuleSettings {
    /// Whether every face raises an alert
    #[arg(long = "rule-face-seen", env = "SIGHTLINE_RULE_FACE_SEEN", default_value = "on", action = ArgAction::Set,
        value_parser = settings::on_off(), value_name = "ON_OFF")]
    pub face_seen: bool,

    /// Whether every vehicle of the suspicious category raises an alert
    #[arg(long = "rule-suspicious-vehicle", env = "SIGHTLINE_RULE_SUSPICIOUS_VEHICLE", default_value = "on",
        action = ArgAction::Set, value_parser = settings::on_off(), value_name = "ON_OFF")]
    pub suspicious_vehicle: bool,

    /// Suspicious category of vehicles; upper and lower case (ASCII) are equal
    #[arg(
        long = "suspicious-vehicle",
        env = "SIGHTLINE_SUSPICIOUS_VEHICLE",
        default_value = "SUV",
        value_name = "CATEGORY"
    )]
    pub suspicious_category: String,
}

/// The built-in rules. They belong to no tenant, and apply to the detections of all tenants.
pub fn built_in_rules(settings: &BuiltInRuleSettings) -> Vec<Rule> {
    let category = literal(&settings.suspicious_category.to_ascii_lowercase());
    let rule = |name: &str, condition: String, enabled| Rule {
        id: RuleId::built_in(name),
        tenant: None,
        name: name.to_owned(),
        condition,
        enabled,
    };
    vec![
        rule(FACE_SEEN, "label == \"face\"".to_owned(), settings.face_seen),
        rule(SUSPICIOUS_VEHICLE, format!("category.lowerAscii() == {category}"), settings.suspicious_vehicle),
    ]
}

/// A text as a CEL string literal.
fn literal(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|character| match character {
            '"' | '\\' => format!("\\{character}"),
            control if control.is_control() => format!("\\u{:04x}", u32::from(control)),
            other => other.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use contracts::{Detection, FrameId, Vehicle};

    use super::*;
    use crate::{Condition, DetectionSubject, NO_WATCHLISTS, Subject};

    fn detection(label: &str, category: Option<&str>) -> Detection {
        let vehicle = Vehicle { category: category.map(str::to_owned), ..Vehicle::default() };
        Detection {
            label: label.to_owned(),
            confidence: 0.9,
            bounds: None,
            landmarks: Vec::new(),
            attributes: vehicle.into(),
        }
    }

    fn matching(category: &str, detection: &Detection) -> Vec<String> {
        let settings =
            BuiltInRuleSettings { face_seen: true, suspicious_vehicle: true, suspicious_category: category.to_owned() };
        let detector = "any".parse().unwrap();
        let captured_at = jiff::Timestamp::UNIX_EPOCH;
        let frame_id = FrameId::now();
        let subject = DetectionSubject {
            frame_id,
            detection,
            stream: None,
            detector: &detector,
            width: 0,
            height: 0,
            captured_at,
            watchlists: &NO_WATCHLISTS,
        };
        let rules = built_in_rules(&settings).into_iter();
        rules
            .filter(|rule| Condition::compile(&rule.condition).unwrap().matches(&Subject::Detection(subject)).unwrap())
            .map(|rule| rule.name)
            .collect()
    }

    #[test]
    fn built_in_rules_match_and_ignore_the_case_of_a_category() {
        assert_eq!(matching("SUV", &detection("face", None)), [FACE_SEEN]);
        for category in ["SUV", "suv", "Suv"] {
            assert_eq!(matching("sUv", &detection("vehicle", Some(category))), [SUSPICIOUS_VEHICLE]);
        }
        assert!(matching("SUV", &detection("vehicle", Some("Sedan"))).is_empty());
        assert!(matching("SUV", &detection("vehicle", None)).is_empty());
    }

    #[test]
    fn a_category_cannot_inject_a_condition() {
        for category in ["\" == \"\" || true || \"", "a\\", "tab\t\"", "Größe"] {
            assert_eq!(matching(category, &detection("vehicle", Some(category))), [SUSPICIOUS_VEHICLE], "{category}");
            assert!(matching(category, &detection("vehicle", Some("other"))).is_empty(), "{category}");
        }
    }
}
