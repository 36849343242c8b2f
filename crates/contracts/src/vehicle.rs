//! Vehicles from external producers: plain JSON without headers on the `results` topic.
//!
//! In: `{"Year":2020,"Make":"Audi","Model":"Q3","Category":"SUV"}`, keys in any case, `created_at` optional. Out: a result of the
//! detector `vehicle` with one detection.
//!
//! Producers differ, so parsing is lenient. A field with an invalid value counts as absent. A message is refused only if it is not a
//! JSON object or has no field of a vehicle.
//!
//! | input | result |
//! |---|---|
//! | a byte-order mark before the object, NULs after it or after a text | ignored |
//! | an empty text, `null`, `none`, `nil`, `n/a`, `na`, `nan`, `unknown`, `undefined`, `-` or `?` in any case | absent |
//! | a year as `2020`, `2020.0`, `"2020"` or `"2020.0"`, 1 to 9999 | 2020 |
//! | a number as make, model or category | its text; `3.0` as `3` |
//! | a make, model or category over 128 characters | its first 128 |
//! | `created_at` as RFC 3339; UTC without a zone | that time |
//! | `created_at` as a number or numeric text | seconds since 1970 below 100,000,000,000, else milliseconds |
//! | `created_at` before 1970, over an hour ahead of the arrival, or invalid | the time of arrival |

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

use crate::attributes::Vehicle;
use crate::detection::Detection;
use crate::event::{DecodeError, shortened};
use crate::ids::{DetectorName, FrameId, TenantId};
use crate::result::{Outcome, ResultData, ResultEvent};

/// Label of an external vehicle.
pub const LABEL: &str = "vehicle";
/// Model name of an external result.
pub const MODEL: &str = "foreign";
/// Texts that mean "unknown", in lower case.
const ABSENT: [&str; 11] = ["", "null", "none", "nil", "n/a", "na", "nan", "unknown", "undefined", "-", "?"];
/// Maximum length of make, model and category in characters; longer ones are cut.
const MAX_TEXT: usize = 128;
/// Numbers below this are seconds since 1970 (up to the year 5138), others milliseconds (from the year 1973).
const FIRST_MILLISECONDS: f64 = 1e11;
/// Tolerance for a producer's clock that is ahead of the arrival time.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// A vehicle from an external producer.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalVehicle {
    /// The result of the detector `vehicle`.
    pub result: ResultEvent,
    /// Whether `created_at` was impossible and the time of arrival is used instead.
    pub impossible_time: bool,
}

/// Parses the value of an external producer's message as a result of `tenant`.
///
/// `frame_id` must be derived from the message's position on the log, so that a repeat gives the same frame. `arrived` is the
/// message's timestamp on the log.
///
/// # Errors
/// If the value is not a JSON object with at least one of `year`, `make`, `model` and `category`.
pub fn from_external(
    value: &[u8],
    frame_id: FrameId,
    tenant: TenantId,
    arrived: Timestamp,
) -> Result<ExternalVehicle, DecodeError> {
    let object: Map<String, Value> = serde_json::from_slice(trim_bytes(value))
        .map_err(|error| payload(&format!("neither an event nor a vehicle: {}", shortened(&error))))?;
    let vehicle = Vehicle {
        category: field(&object, "category").and_then(text),
        make: field(&object, "make").and_then(text),
        model: field(&object, "model").and_then(text),
        year: field(&object, "year").and_then(year),
    };
    if vehicle == Vehicle::default() {
        return Err(payload("neither an event nor a vehicle: none of year, make, model, category is set"));
    }
    let created_at = field(&object, "created_at").map(|value| possible_time(value, arrived));
    let detection = Detection {
        label: LABEL.to_owned(),
        confidence: 1.0,
        bounds: None,
        landmarks: Vec::new(),
        attributes: vehicle.into(),
    };
    detection.check().map_err(DecodeError::Payload)?;
    let detector: DetectorName = LABEL.parse().map_err(|error| payload(&format!("{error}")))?;
    let data = ResultData {
        frame_id,
        stream: None,
        detector,
        model: MODEL.to_owned(),
        captured_at: created_at.flatten().unwrap_or(arrived),
        processed_at: arrived,
        outcome: Outcome::Ok { width: 0, height: 0, detections: vec![detection], image: None },
    };
    let (id, key) = (frame_id.uuid(), frame_id.to_string());
    let result = ResultEvent { id, tenant, key, traceparent: None, reply_to: None, retention: None, data };
    Ok(ExternalVehicle { result, impossible_time: created_at == Some(None) })
}

fn payload(reason: &str) -> DecodeError {
    DecodeError::Payload(reason.to_owned())
}

/// The value without a leading byte-order mark and trailing NULs.
fn trim_bytes(value: &[u8]) -> &[u8] {
    let mut value = value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value);
    while let Some(rest) = value.strip_suffix(b"\0") {
        value = rest;
    }
    value
}

/// The first field of this name, in any case, whose value does not mean "unknown".
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let same = object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    same.into_iter().find(|value| match value {
        Value::Null => false,
        Value::String(text) => !ABSENT.contains(&trimmed(text).to_lowercase().as_str()),
        _ => true,
    })
}

/// The text without trailing NULs and surrounding white space.
fn trimmed(text: &str) -> &str {
    text.trim_end_matches('\0').trim()
}

fn text(value: &Value) -> Option<String> {
    let whole = |number: f64| (number.fract() == 0.0).then(|| format!("{number:.0}"));
    let text = match value {
        Value::String(text) => trimmed(text).to_owned(),
        Value::Number(number) if number.is_f64() => number.as_f64().and_then(whole).unwrap_or(number.to_string()),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(text.chars().take(MAX_TEXT).collect())
}

/// The value of a number, or of a text that is a number.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => trimmed(text).parse().ok(),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked before the cast")]
fn year(value: &Value) -> Option<i32> {
    let year = number(value).filter(|year| year.fract() == 0.0 && (1.0..=9999.0).contains(year))?;
    Some(year as i32)
}

/// The time of a value; `None` if it is invalid or impossible.
fn possible_time(value: &Value, arrived: Timestamp) -> Option<Timestamp> {
    let latest = arrived.checked_add(MAX_AHEAD).unwrap_or(Timestamp::MAX);
    time(value).filter(|time| (Timestamp::UNIX_EPOCH..=latest).contains(time))
}

fn time(value: &Value) -> Option<Timestamp> {
    if let Some(number) = number(value) {
        return epoch(number);
    }
    let text = trimmed(value.as_str()?);
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[expect(clippy::cast_possible_truncation, reason = "out of range it saturates, and jiff refuses it")]
fn epoch(number: f64) -> Option<Timestamp> {
    let milliseconds = if number.abs() < FIRST_MILLISECONDS { number * 1e3 } else { number };
    number.is_finite().then_some(())?;
    Timestamp::from_millisecond(milliseconds.round() as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRIVED: &str = "2026-01-02T03:04:05Z";

    fn read_bytes(value: &[u8]) -> Result<ExternalVehicle, DecodeError> {
        let arrived = ARRIVED.parse().unwrap();
        from_external(value, FrameId::from_position("t", 0, 7), TenantId::shared(), arrived)
    }

    fn read(value: &str) -> Result<ExternalVehicle, DecodeError> {
        read_bytes(value.as_bytes())
    }

    fn vehicle(external: &ExternalVehicle) -> Vehicle {
        match &external.result.data.outcome {
            Outcome::Ok { detections, .. } => detections[0].attributes.vehicle(),
            Outcome::Failed { .. } => panic!("a vehicle is not a failure"),
        }
    }

    fn audi() -> Vehicle {
        let text = |text: &str| Some(text.to_owned());
        Vehicle { category: text("SUV"), make: text("Audi"), model: text("Q3"), year: Some(2020) }
    }

    #[test]
    fn spellings_of_a_vehicle_are_equivalent() {
        for value in [
            r#"{"Year":2020,"Make":"Audi","Model":"Q3","Category":"SUV"}"#,
            r#"{"year":2020.0,"make":"Audi","model":"Q3","category":"SUV"}"#,
            r#"{"year":"2020","make":" Audi ","model":"Q3\u0000\u0000","category":"SUV"}"#,
            r#"{"year":"2020.0 ","make":null,"MAKE":"Audi","model":"Q3","category":"SUV"}"#,
            "\u{feff}{\"Year\":2020,\"Make\":\"Audi\",\"Model\":\"Q3\",\"Category\":\"SUV\"}\0\0",
        ] {
            assert_eq!(vehicle(&read(value).unwrap()), audi(), "{value}");
        }
        let numbers = read(r#"{"make":"Mazda","model":3,"category":3.0}"#).unwrap();
        assert_eq!((vehicle(&numbers).model.as_deref(), vehicle(&numbers).category.as_deref()), (Some("3"), Some("3")));
    }

    #[test]
    fn a_text_that_means_unknown_is_absent() {
        for text in ["", "  ", "null", "NULL", "None", "unknown", "Unknown\\u0000", "n/a", "N/A ", "NaN", "-", "?"] {
            let external = read(&format!(r#"{{"make":"{text}","category":"SUV","created_at":"{text}"}}"#)).unwrap();
            assert_eq!(vehicle(&external), Vehicle { category: audi().category, ..Vehicle::default() }, "{text:?}");
            assert!(!external.impossible_time, "{text:?}");
        }
    }

    #[test]
    fn an_invalid_field_does_not_lose_the_vehicle() {
        let long = format!("\"{}\"", "x".repeat(500));
        for (field, odd) in [
            ("year", "2020.5"),
            ("year", "\"new\""),
            ("year", "99999999999999999999"),
            ("year", "{}"),
            ("make", "{}"),
            ("make", "[1]"),
            ("model", "true"),
            ("model", long.as_str()),
            ("created_at", "\"yesterday\""),
            ("created_at", "{}"),
            ("created_at", "1e300"),
        ] {
            let external = read(&format!(r#"{{"category":"SUV","{field}":{odd}}}"#)).unwrap();
            let read = vehicle(&external);
            assert_eq!((read.category.as_deref(), read.year, read.make), (Some("SUV"), None, None), "{field} {odd}");
            assert!(read.model.is_none_or(|model| model.len() == MAX_TEXT));
            assert_eq!(external.impossible_time, field == "created_at", "{odd}");
        }
    }

    #[test]
    fn a_time_is_parsed_as_text_seconds_or_milliseconds() {
        for (date, expected) in [
            (r#","created_at":"2024-05-01T12:00:00""#, "2024-05-01T12:00:00Z"),
            (r#","created_at":"2024-05-01 12:00:00.250""#, "2024-05-01T12:00:00.25Z"),
            (r#","CREATED_AT":"2024-05-01T12:00:00+02:00""#, "2024-05-01T10:00:00Z"),
            (r#","created_at":1714564800"#, "2024-05-01T12:00:00Z"),
            (r#","created_at":1714564800.25"#, "2024-05-01T12:00:00.25Z"),
            (r#","created_at":1714564800000"#, "2024-05-01T12:00:00Z"),
            (r#","created_at":"1714564800000""#, "2024-05-01T12:00:00Z"),
            (r#","created_at":0"#, "1970-01-01T00:00:00Z"),
            (r#","created_at":"2026-01-02T04:04:05Z""#, "2026-01-02T04:04:05Z"),
            (r#","created_at":null"#, ARRIVED),
            ("", ARRIVED),
        ] {
            let external = read(&format!(r#"{{"make":"Audi"{date}}}"#)).unwrap();
            assert_eq!(external.result.data.captured_at.to_string(), expected, "{date}");
            assert!(!external.impossible_time, "{date}");
        }
    }

    #[test]
    fn an_impossible_time_becomes_the_time_of_arrival() {
        for date in [
            r#""0001-01-01T00:00:00""#,
            r#""0000-12-31T23:00:00.000Z""#,
            r#""1969-12-31T23:59:59Z""#,
            r#""2026-01-02T04:04:06Z""#,
            r#""2099-01-01T00:00:00Z""#,
            "-1",
            "99999999999999",
        ] {
            let external = read(&format!(r#"{{"make":"Audi","created_at":{date}}}"#)).unwrap();
            assert_eq!(external.result.data.captured_at.to_string(), ARRIVED, "{date}");
            assert!(external.impossible_time, "{date}");
        }
    }

    #[test]
    fn other_messages_are_refused_with_the_reason() {
        for (value, reason) in [
            ("", "neither an event nor a vehicle"),
            ("[1]", "neither an event nor a vehicle"),
            (r#""{\"make\":\"Audi\"}""#, "neither an event nor a vehicle"),
            ("{}", "none of year, make, model, category"),
            (r#"{"make":{}}"#, "none of year, make, model, category"),
            (r#"{"make":"unknown","year":null}"#, "none of year, make, model, category"),
        ] {
            let error = read(value).unwrap_err().to_string();
            assert!(error.contains(reason), "{value}: {error}");
        }
        assert!(read_bytes(b"\xef\xbb\xbf\0").is_err());
    }
}
