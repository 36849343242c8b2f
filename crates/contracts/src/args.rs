//! Settings of frames that ingest-api and detector-worker share.

use clap::Args;

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

    /// Largest image, in pixels (width × height)
    #[arg(long, env = "SIGHTLINE_MAX_FRAME_PIXELS", default_value_t = 25_000_000, value_name = "PIXELS",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub max_frame_pixels: u64,
}
