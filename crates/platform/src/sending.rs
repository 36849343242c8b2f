//! Limits of the programs that send frames: the command for images, the camera program for videos.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

/// How long a file waits for a server that does not answer, without a setting.
pub const ABSENT_LIMIT: Duration = Duration::from_secs(15);
/// The same for a server that asks to come later.
pub const BUSY_LIMIT: Duration = Duration::from_secs(300);
/// Values of `fps`. The least is a frame in about a day.
pub const FPS: RangeInclusive<f64> = 0.000_01..=1000.0;
/// Values of the beginning and the length of a part of a video, in seconds.
pub const SECONDS: Range<f64> = 0.0..1e9;
/// Shortest and longest side of the images of a video.
pub const SIDE: RangeInclusive<u32> = 16..=16_384;
/// Code of the problem for detectors that the service does not have.
pub const UNKNOWN_DETECTOR: &str = "unknown_detector";
/// What its operator can do about it.
pub const UNKNOWN_DETECTOR_HINT: &str = "the operator of the server adds detectors with SIGHTLINE_DETECTORS, and fetches their models with \
     `sightline models pull --detectors NAMES`";
