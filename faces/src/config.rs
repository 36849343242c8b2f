//! Settings of the service.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use contracts::{FaceArgs, FrameArgs};
use settings::{bytes, count, on_off};
use store::relational::DEFAULT_SUBJECT_LIMIT;
use vision::pipeline::PipelineSettings;
use vision::{InferenceArgs, ModelArgs};

use crate::consent::ConsentRule;

/// The service's settings.
#[derive(Debug, Clone, Args)]
#[group(id = "faces")]
pub struct Config {
    /// Memory of request bodies, in bytes; further ones are refused
    #[arg(long, env = "SIGHTLINE_FACES_BYTES_IN_FLIGHT", default_value = "64MiB", value_name = "BYTES",
        value_parser = bytes::<usize>(1 << 20..=1 << 40))]
    pub faces_bytes_in_flight: usize,

    /// Maximum number of images that are compared at the same time, half of them for one tenant; further ones are refused
    #[arg(long, env = "SIGHTLINE_FACES_REQUESTS", default_value_t = 16, value_name = "NUMBER",
        value_parser = count::<usize>(1..=10_000))]
    pub faces_requests: usize,

    /// Maximum number of subjects of a tenant; further ones are refused
    #[arg(long, env = "SIGHTLINE_FACES_SUBJECTS", default_value_t = DEFAULT_SUBJECT_LIMIT, value_name = "NUMBER",
        value_parser = count::<u64>(1..=1_000_000_000))]
    pub faces_subjects: u64,

    /// Whether a person must have given consent before a face is enrolled and compared
    #[arg(long, env = "SIGHTLINE_FACES_CONSENT", default_value = "optional", value_enum, value_name = "RULE")]
    pub faces_consent: ConsentRule,

    /// Whether images with which faces are enrolled are kept, so that the model can be changed later; with `off`, only embeddings are stored
    #[arg(long, env = "SIGHTLINE_FACES_KEEP_IMAGES", default_value = "off", action = ArgAction::Set,
        value_parser = on_off(), value_name = "ON_OFF")]
    pub faces_keep_images: bool,

    /// The folder of uploads.
    #[command(flatten)]
    pub uploads: UploadArgs,
}

/// Where photographs that verify users are.
#[derive(Debug, Clone, Args)]
pub struct UploadArgs {
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
    /// One session, because most of the time nobody waits for a second one. It has the threads of all, because a caller waits for it.
    pub(crate) fn inference(&self) -> InferenceArgs {
        self.inference.in_one_session(self.models.onnx.execution_provider)
    }

    pub(crate) fn pipeline(&self) -> PipelineSettings {
        PipelineSettings {
            inference: self.inference().settings(self.models.onnx.execution_provider),
            decode_threads: self.inference.decode_threads(),
            max_pixels: self.frames.max_frame_pixels,
            // One image of the largest size at a time.
            pixel_budget: self.frames.max_frame_pixels,
        }
    }
}
