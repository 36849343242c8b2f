//! Settings of the service.

use clap::{ArgAction, Args};
use contracts::{FaceArgs, FrameArgs};
use settings::{bytes, count, on_off};
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

    /// Whether images with which faces are enrolled are kept, so that the model can be changed later; with `off`, only embeddings are stored
    #[arg(long, env = "SIGHTLINE_FACES_KEEP_IMAGES", default_value = "off", action = ArgAction::Set,
        value_parser = on_off(), value_name = "ON_OFF")]
    pub faces_keep_images: bool,
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
