//! Settings of the service.

use std::path::PathBuf;

use clap::Args;
use contracts::{FaceArgs, FrameArgs};
use settings::{bytes, count};
use vision::pipeline::PipelineSettings;
use vision::{InferenceArgs, ModelArgs};

/// The service's settings.
#[derive(Debug, Clone, Args)]
#[group(id = "faces")]
pub struct Config {
    /// Memory of request bodies, in bytes; further ones are refused
    #[arg(long, env = "SIGHTLINE_FACES_BYTES_IN_FLIGHT", default_value = "64MiB", value_name = "BYTES",
        value_parser = bytes::<usize>(1 << 20..=1 << 40))]
    pub faces_bytes_in_flight: usize,

    /// Maximum number of images that are compared at the same time; further ones are refused
    #[arg(long, env = "SIGHTLINE_FACES_REQUESTS", default_value_t = 16, value_name = "NUMBER",
        value_parser = count::<usize>(1..=10_000))]
    pub faces_requests: usize,

    /// Folder of photographs that verify users, shared with the programs that write them; not set, photographs verify nobody
    #[arg(long, env = "SIGHTLINE_FACES_UPLOADS_DIR", value_name = "PATH")]
    pub faces_uploads_dir: Option<PathBuf>,
}

/// Settings that a process has once, whichever services it runs.
#[derive(Debug, Clone)]
pub struct SharedArgs {
    /// Accepted images.
    pub frames: FrameArgs,
    /// Models and execution provider.
    pub models: ModelArgs,
    /// Threads that decode images and run models.
    pub inference: InferenceArgs,
    /// What enrolled faces are used for.
    pub uses: FaceArgs,
}

impl SharedArgs {
    /// One session, because most of the time nobody waits for a second one.
    pub(crate) fn pipeline(&self) -> PipelineSettings {
        let mut inference = self.inference.settings(self.models.execution_provider);
        inference.threads = 1;
        PipelineSettings {
            inference,
            decode_threads: self.inference.decode_threads(),
            max_pixels: self.frames.max_frame_pixels,
            // One image of the largest size at a time.
            pixel_budget: self.frames.max_frame_pixels,
        }
    }
}
