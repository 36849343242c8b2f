//! Values of the options of `push`. The errors say what is allowed, with an example.

use jiff::Timestamp;
use platform::sending::{FPS, SECONDS, SIDE};

/// Frames per second.
pub fn fps(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|fps| FPS.contains(fps));
    number.ok_or_else(|| format!("it must be a number from {} to {}, such as 5", FPS.start(), FPS.end()))
}

/// A place in a recording.
pub fn start(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|seconds| SECONDS.contains(seconds));
    number.ok_or_else(|| "it must be a number of seconds from 0, without a unit, such as 300 or 1.5".to_owned())
}

/// A length of time.
pub fn duration(text: &str) -> Result<f64, String> {
    let number = start(text).ok().filter(|seconds| *seconds > 0.0);
    number.ok_or_else(|| "it must be a number of seconds above 0, without a unit, such as 300 or 1.5".to_owned())
}

/// A size.
pub fn size(text: &str) -> Result<String, String> {
    let is_side = |side: &str| side.parse::<u32>().is_ok_and(|side| SIDE.contains(&side));
    let is_size = text.split_once('x').is_some_and(|(width, height)| is_side(width) && is_side(height));
    let (least, most) = (SIDE.start(), SIDE.end());
    if is_size {
        return Ok(text.to_owned());
    }
    Err(format!("it must be a width and a height from {least} to {most}, such as 1280x720"))
}

/// A time.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "it must be a time such as 2026-01-02T03:04:05Z or 2026-01-02T03:04:05+01:00".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_answered_with_what_is_allowed() {
        for wrong in ["0", "-1", "abc", "nan", "inf", "1001", "", "5fps"] {
            assert!(fps(wrong).unwrap_err().contains("from 0.00001 to 1000"), "{wrong}");
        }
        for wrong in ["5m", "-1", "abc", "nan", "inf", "1e30", ""] {
            assert!(start(wrong).unwrap_err().contains("without a unit, such as 300"), "{wrong}");
            assert!(duration(wrong).unwrap_err().contains("without a unit, such as 300"), "{wrong}");
        }
        assert!(duration("0").unwrap_err().contains("above 0"));
        for wrong in ["12", "1280", "1280x", "15x720", "1280x720p", "1280*720", "1280x16385"] {
            assert!(size(wrong).unwrap_err().contains("from 16 to 16384, such as 1280x720"), "{wrong}");
        }
        for wrong in ["yesterday", "2026-01-02", "2026-01-02T03:04:05"] {
            assert!(moment(wrong).unwrap_err().contains("2026-01-02T03:04:05Z"), "{wrong}");
        }
    }

    #[test]
    fn a_right_value_is_taken_as_it_is() {
        assert_eq!(
            (fps("0.00001"), fps("29.97"), start("0"), duration("0.5")),
            (Ok(0.000_01), Ok(29.97), Ok(0.0), Ok(0.5))
        );
        assert_eq!(size("1280x720").as_deref(), Ok("1280x720"));
        assert_eq!(moment("2026-01-02T03:04:05+01:00"), moment("2026-01-02T02:04:05Z"));
    }
}
