//! Limits of the programs that send frames: the command for images, the camera program for videos.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a file waits for a server that does not answer, without a setting.
pub const ABSENT_LIMIT: Duration = Duration::from_secs(15);
/// The same for a server that asks to come later.
pub const BUSY_LIMIT: Duration = Duration::from_secs(300);
/// Values of `fps`. The least is a frame in about a day.
pub const FPS: RangeInclusive<f64> = 0.000_01..=1000.0;
