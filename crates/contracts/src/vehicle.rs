//! The bare vehicle JSON of a foreign producer, as it may appear on the `results` topic.
//!
//! In: `{"Year":2020,"Make":"Audi","Model":"Q3","Category":"SUV"}`, keys in any case, with or without `created_at`,
//! which is UTC when it has no zone. Out: a result of the detector `vehicle` with one detection.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

use crate::attributes::Vehicle;
use crate::detection::Detection;
use crate::event::{DecodeError, brief};
use crate::ids::{DetectorName, FrameId, TenantId};
use crate::result::{Outcome, ResultData, ResultEvent};

/// Label of a foreign vehicle.
pub const LABEL: &str = "vehicle";
/// What stands where a model's name would.
pub const MODEL: &str = "foreign";

/// Reads the value of a foreign producer's message as a result of `tenant`.
///
/// `frame_id` must follow from the message's place on the log, so that a repeat is the same frame; `arrived` is its
/// time on the log, which counts when it brings none of its own.
///
/// # Errors
/// When the value is not a JSON object with at least one of `year`, `make`, `model` and `category`, or one of them has a
/// type or length that a vehicle cannot have.
pub fn from_foreign(
    value: &[u8],
    frame_id: FrameId,
    tenant: TenantId,
    arrived: Timestamp,
) -> Result<ResultEvent, DecodeError> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(value)
        .map_err(|error| payload(&format!("neither an event nor a vehicle: {}", brief(&error))))?;
    let field = |name: &str| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).filter(|v| !v.is_null())
    };
    let vehicle = Vehicle {
        category: field("category").map(|value| text("category", value)).transpose()?,
        make: field("make").map(|value| text("make", value)).transpose()?,
        model: field("model").map(|value| text("model", value)).transpose()?,
        year: field("year").map(year).transpose()?,
    };
    if vehicle == Vehicle::default() {
        return Err(payload("neither an event nor a vehicle: none of year, make, model, category is there"));
    }
    let captured_at = field("created_at").map(time).transpose()?.unwrap_or(arrived);
    let detection = Detection {
        label: LABEL.to_owned(),
        confidence: 1.0,
        bounds: None,
        landmarks: Vec::new(),
        attributes: vehicle.into(),
    };
    detection.check().map_err(DecodeError::Payload)?;
    let detector: DetectorName = LABEL.parse().map_err(|error| payload(&format!("{error}")))?;
    Ok(ResultEvent {
        id: frame_id.uuid(),
        tenant,
        key: frame_id.to_string(),
        traceparent: None,
        reply_to: None,
        data: ResultData {
            frame_id,
            stream: None,
            detector,
            model: MODEL.to_owned(),
            captured_at,
            processed_at: arrived,
            outcome: Outcome::Ok { width: 0, height: 0, detections: vec![detection], image: None },
        },
    })
}

fn payload(reason: &str) -> DecodeError {
    DecodeError::Payload(reason.to_owned())
}

fn text(name: &str, value: &Value) -> Result<String, DecodeError> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(payload(&format!("{name} must be a text that is not empty"))),
    }
}

fn year(value: &Value) -> Result<i32, DecodeError> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|year| (1..=9999).contains(year))
        .and_then(|year| i32::try_from(year).ok())
        .ok_or_else(|| payload("year must be a whole number from 1 to 9999"))
}

fn time(value: &Value) -> Result<Timestamp, DecodeError> {
    let wrong = || payload("created_at must be a date and time such as 2024-05-01T12:00:00Z");
    let text = value.as_str().ok_or_else(wrong)?.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    Ok(civil.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<ResultEvent, DecodeError> {
        let arrived = "2026-01-02T03:04:05Z".parse().unwrap();
        from_foreign(value.as_bytes(), FrameId::from_position("t", 0, 7), TenantId::shared(), arrived)
    }

    fn vehicle(event: &ResultEvent) -> Vehicle {
        match &event.data.outcome {
            Outcome::Ok { detections, .. } => detections[0].attributes.vehicle(),
            Outcome::Failed { .. } => panic!("a vehicle is no failure"),
        }
    }

    #[test]
    fn keys_count_in_any_case() {
        let upper = read(r#"{"Year":2020,"Make":"Audi","Model":"Q3","Category":"SUV"}"#).unwrap();
        let lower = read(r#"{"year":2020,"make":"Audi","model":"Q3","category":"SUV"}"#).unwrap();
        assert_eq!(vehicle(&upper), vehicle(&lower));
        assert_eq!(vehicle(&upper).make.as_deref(), Some("Audi"));
        assert_eq!(vehicle(&upper).year, Some(2020));
    }

    #[test]
    fn a_date_without_a_zone_is_utc_and_no_date_is_the_arrival() {
        for (date, expected) in [
            (r#","created_at":"2024-05-01T12:00:00""#, "2024-05-01T12:00:00Z"),
            (r#","created_at":"2024-05-01 12:00:00.250""#, "2024-05-01T12:00:00.25Z"),
            (r#","CREATED_AT":"2024-05-01T12:00:00+02:00""#, "2024-05-01T10:00:00Z"),
            (r#","created_at":null"#, "2026-01-02T03:04:05Z"),
            ("", "2026-01-02T03:04:05Z"),
        ] {
            let event = read(&format!(r#"{{"make":"Audi"{date}}}"#)).unwrap();
            assert_eq!(event.data.captured_at.to_string(), expected, "{date}");
        }
    }

    #[test]
    fn what_is_neither_an_event_nor_a_vehicle_is_refused_with_the_reason() {
        for (value, reason) in [
            ("", "neither an event nor a vehicle"),
            ("[1]", "neither an event nor a vehicle"),
            ("{}", "none of year, make, model, category"),
            (r#"{"make":{}}"#, "make must be a text"),
            (r#"{"make":"Audi","year":2020.5}"#, "year must be a whole number"),
            (r#"{"make":"Audi","created_at":"yesterday"}"#, "created_at must be a date"),
        ] {
            let error = read(value).unwrap_err().to_string();
            assert!(error.contains(reason), "{value}: {error}");
        }
    }
}
