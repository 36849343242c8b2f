//! Settings that several services share: of frames, and of enrolled faces.

use std::time::Duration;

use clap::{ArgAction, Args};

use crate::DetectorName;

/// Limits of frames, and the default detectors.
#[derive(Debug, Clone, Args)]
pub struct FrameArgs {
    /// Detectors for frames that name none, comma-separated
    #[arg(long, env = "SIGHTLINE_DETECTORS", default_value = "face", value_delimiter = ',', value_name = "NAMES")]
    pub detectors: Vec<DetectorName>,

    /// Largest image file, in bytes, such as 8388608 or 8MiB
    #[arg(long, env = "SIGHTLINE_MAX_FRAME_BYTES", default_value = "8MiB", value_name = "BYTES",
        value_parser = settings::bytes::<usize>(1..=1 << 40))]
    pub max_frame_bytes: usize,

    /// Largest image, in pixels (width × height); no side may have more than 65,535
    #[arg(long, env = "SIGHTLINE_MAX_FRAME_PIXELS", default_value_t = 25_000_000, value_name = "PIXELS",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub max_frame_pixels: u64,
}

/// Maximum width and height of an image, as in JPEG. No camera has more, and the memory for scaling grows with the longer side: an image
/// of 1 x 25,000,000 pixels would need 700 MB.
pub const MAX_IMAGE_SIDE: u32 = 65_535;

/// What enrolled faces are used for.
#[derive(Debug, Clone, Args)]
pub struct FaceArgs {
    /// Whether faces are searched among all enrolled ones, in images and in frames; with `off`, they are only verified against a person
    /// that the caller names
    #[arg(long, env = "SIGHTLINE_FACES_SEARCH", default_value = "on", action = ArgAction::Set,
        value_parser = settings::on_off(), value_name = "ON_OFF")]
    pub faces_search: bool,
}

/// How long what is known of strangers is kept.
#[derive(Debug, Clone, Default, Args)]
pub struct StrangerArgs {
    /// Retention of the faces of people who are not enrolled, such as 12h or 7d: their detections and alerts, and the images of frames
    /// with nobody who is; not set: that of all others
    #[arg(long, env = "SIGHTLINE_FACES_STRANGERS_RETENTION", value_name = "DURATION",
        value_parser = settings::duration(MINUTE..=CENTURY))]
    pub faces_strangers_retention: Option<Duration>,
}

const MINUTE: Duration = Duration::from_secs(60);
const CENTURY: Duration = Duration::from_secs(36_525 * 24 * 60 * 60);
