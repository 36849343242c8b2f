//! Value parsers that all settings share: durations, sizes, counts, on and off.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser, StringValueParser, TypedValueParser};
use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Unit of a number without one.
#[derive(Clone, Copy)]
enum Unit {
    Milliseconds,
    Seconds,
    Minutes,
    Days,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Days => "days",
        }
    }

    const fn times(self, number: u64) -> Duration {
        match self {
            Self::Milliseconds => Duration::from_millis(number),
            Self::Seconds => Duration::from_secs(number),
            Self::Minutes => Duration::from_secs(number.saturating_mul(60)),
            Self::Days => Duration::from_secs(number.saturating_mul(24 * 60 * 60)),
        }
    }
}

/// A duration such as `250ms`, `90s` or `7d`. A bare number and `range` are in milliseconds.
pub fn milliseconds(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    in_unit(Unit::Milliseconds, &range)
}

/// A duration such as `250ms`, `90s` or `7d`. A bare number and `range` are in seconds.
pub fn seconds(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    in_unit(Unit::Seconds, &range)
}

/// A duration such as `250ms`, `90s` or `7d`. A bare number and `range` are in minutes.
pub fn minutes(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    in_unit(Unit::Minutes, &range)
}

/// A duration such as `250ms`, `90s` or `7d`. A bare number and `range` are in days of 24 hours.
pub fn days(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    in_unit(Unit::Days, &range)
}

/// A duration such as `250ms`, `90s` or `7d`. A bare number is refused.
pub fn duration(range: RangeInclusive<Duration>) -> impl TypedValueParser<Value = Duration> {
    StringValueParser::new().try_map(move |text| parse_duration(&text, None, &range))
}

/// A duration such as `250ms`, `90s` or `7d`, in a document. A bare number is refused.
///
/// # Errors
/// When it is not one, or not within `range`; the message says what is valid.
pub fn duration_of(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    parse_duration(text, None, range)
}

fn in_unit(unit: Unit, range: &RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> + use<> {
    let range = unit.times(*range.start())..=unit.times(*range.end());
    StringValueParser::new().try_map(move |text| parse_duration(&text, Some(unit), &range))
}

fn parse_duration(text: &str, bare: Option<Unit>, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let wrong = || {
        let bare = bare.map(|unit| format!("; a bare number is in {}", unit.name())).unwrap_or_default();
        let (least, most) = (readable(*range.start()), readable(*range.end()));
        format!("it must be a duration from {least} to {most}, such as 250ms, 90s, 15m, 12h or 7d{bare}")
    };
    let number = text.trim().parse::<u64>().ok();
    let duration = match (bare, number) {
        (Some(unit), Some(number)) => unit.times(number),
        _ => with_unit(text).ok_or_else(wrong)?,
    };
    if range.contains(&duration) { Ok(duration) } else { Err(wrong()) }
}

/// A day has 24 hours; months and years have no fixed length and are refused.
fn with_unit(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(exact).ok()
}

fn readable(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds > 0 && seconds.is_multiple_of(24 * 60 * 60) {
        return format!("{}d", seconds / (24 * 60 * 60));
    }
    SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |duration| format!("{duration:#}"))
}

/// A number of bytes, such as `8388608`, `8MiB` or `8MB`, in a document; `range` is in bytes.
///
/// # Errors
/// When it is not one, or not within `range`; the message says what is valid.
pub fn bytes_of(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let size = text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64()).filter(|size| range.contains(size));
    size.ok_or_else(|| format!("it must be {} to {} bytes, such as 8388608 or 8MiB", range.start(), range.end()))
}

/// A number of bytes, such as `8388608`, `8MiB` or `8MB`; `range` is in bytes.
pub fn bytes<T>(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = T>
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
{
    StringValueParser::new().try_map(move |text| {
        let size = bytes_of(&text, &range)?;
        T::try_from(size).map_err(|_| format!("{size} bytes are more than this setting can have"))
    })
}

/// A whole number within `range`.
pub fn count<T>(range: RangeInclusive<u64>) -> RangedU64ValueParser<T>
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
    <T as TryFrom<u64>>::Error: Send + Sync + 'static + std::error::Error + ToString,
{
    RangedU64ValueParser::new().range(range)
}

/// `on` or `off`; `true` and `false` are accepted too.
pub fn on_off() -> impl TypedValueParser<Value = bool> {
    let values = [PossibleValue::new("on").alias("true"), PossibleValue::new("off").alias("false")];
    PossibleValuesParser::new(values).map(|text| ["on", "true"].contains(&text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, bare: Option<Unit>) -> Result<Duration, String> {
        parse_duration(text, bare, &(Duration::from_millis(1)..=Duration::from_secs(86_400)))
    }

    #[test]
    fn durations_have_units_or_the_default_unit() {
        for (text, bare, milliseconds) in [
            ("30", Some(Unit::Seconds), 30_000),
            ("30", Some(Unit::Milliseconds), 30),
            ("2", Some(Unit::Minutes), 120_000),
            ("1", Some(Unit::Days), 86_400_000),
            ("250ms", Some(Unit::Days), 250),
            ("90s", None, 90_000),
            (" 1h 30m ", None, 5_400_000),
            ("1d", None, 86_400_000),
        ] {
            assert_eq!(parse(text, bare), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "30", "soon", "-1s", "0s", "2d", "1mo"] {
            assert!(parse(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_duration_is_answered_with_range_and_unit() {
        let error = parse_duration("0", Some(Unit::Seconds), &(Duration::from_secs(5)..=Duration::from_secs(86_400)));
        let expected =
            "it must be a duration from 5s to 1d, such as 250ms, 90s, 15m, 12h or 7d; a bare number is in seconds";
        assert_eq!(error, Err(expected.to_owned()));
    }

    #[test]
    fn a_switch_is_on_or_off_or_a_truth_value() {
        let command = clap::Command::new("test").no_binary_name(true);
        let command = command.arg(clap::Arg::new("switch").long("switch").value_parser(on_off()));
        let read = |text: &str| {
            let matches = command.clone().try_get_matches_from([format!("--switch={text}")]).ok()?;
            matches.get_one::<bool>("switch").copied()
        };
        for (text, value) in
            [("on", Some(true)), ("true", Some(true)), ("off", Some(false)), ("false", Some(false)), ("maybe", None)]
        {
            assert_eq!(read(text), value, "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let command = clap::Command::new("test").no_binary_name(true);
        let command = command.arg(clap::Arg::new("size").long("size").value_parser(bytes::<u32>(1..=1 << 30)));
        let read = |text: &str| {
            let matches = command.clone().try_get_matches_from([format!("--size={text}")]).ok()?;
            matches.get_one::<u32>("size").copied()
        };
        for (text, size) in [("8388608", 8 << 20), ("8MiB", 8 << 20), ("8 MB", 8_000_000)] {
            assert_eq!(read(text), Some(size), "{text}");
        }
        for wrong in ["", "0", "-1", "many", "2GiB", "9999999999999999999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
