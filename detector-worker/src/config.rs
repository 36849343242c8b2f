//! Settings of the worker: those of models and threads, limits on concurrent work, the state folder, and image retention.

use std::path::PathBuf;
use std::time::Duration;

use bus::TopicArgs;
use clap::{ArgAction, Args};
use contracts::{DetectorName, FaceArgs, FrameArgs, StrangerArgs};
use settings::{Check, SettingErrors, bytes, count, duration, on_off};
use vision::pipeline::PipelineSettings;
use vision::{InferenceArgs, ModelArgs};

const LONGEST_RETENTION: Duration = Duration::from_secs(36_525 * 24 * 60 * 60);

/// The worker's settings.
#[derive(Debug, Clone, Args)]
#[group(id = "detector-worker")]
pub struct Config {
    /// Models and execution provider.
    #[command(flatten)]
    pub models: ModelArgs,

    /// Threads that decode images and run models.
    #[command(flatten)]
    pub inference: InferenceArgs,

    /// Limits on concurrent work.
    #[command(flatten)]
    pub capacity: CapacityArgs,

    /// Comparing faces with the enrolled ones.
    #[command(flatten)]
    pub identity: IdentityArgs,

    /// Folder of the crash log, which records the frames being inferred when a process dies; keep
    /// it across restarts; default: a folder in the system's temporary folder
    #[arg(long, env = "SIGHTLINE_WORKER_STATE_DIR", value_name = "PATH")]
    pub worker_state_dir: Option<PathBuf>,

    /// Whether the images of frames with detections are kept
    #[arg(long, alias = "keep-pictures", env = "SIGHTLINE_KEEP_IMAGES", default_value = "on", action = ArgAction::Set,
        value_parser = on_off(), value_name = "ON_OFF")]
    pub keep_images: bool,

    /// Retention of kept images, such as 12h or 7d
    #[arg(long, alias = "picture-retention", env = "SIGHTLINE_IMAGE_RETENTION", default_value = "7d",
        value_parser = duration(Duration::ZERO..=LONGEST_RETENTION), value_name = "DURATION")]
    pub image_retention: Duration,
}

/// Comparing the faces of frames with the enrolled ones.
#[derive(Debug, Clone, Args)]
pub struct IdentityArgs {
    /// Whether the faces of frames are compared with the enrolled faces of the frame's owner; needs a model for embeddings
    #[arg(long, env = "SIGHTLINE_FACES_LIVE", default_value = "off", action = ArgAction::Set,
        value_parser = on_off(), value_name = "ON_OFF")]
    pub faces_live: bool,

    /// Number of enrolled people that the face of a stranger may be taken for, on average
    #[arg(long, env = "SIGHTLINE_FACES_LIVE_FALSE_MATCHES", default_value_t = 0.01, value_name = "NUMBER",
        value_parser = false_matches)]
    pub faces_live_false_matches: f64,
}

fn false_matches(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && *number <= 100.0);
    number.ok_or_else(|| "must be a number above 0 and at most 100, such as 0.01".to_owned())
}

/// Settings that must have the same values as in other services.
#[derive(Debug, Clone, Args)]
#[group(id = "detector-worker-shared")]
pub struct SharedArgs {
    /// Topics of the log.
    #[command(flatten)]
    pub topics: TopicArgs,

    /// Accepted frames and their detectors.
    #[command(flatten)]
    pub frames: FrameArgs,

    /// What enrolled faces are used for.
    #[command(flatten)]
    pub faces: FaceArgs,

    /// What is known of strangers.
    #[command(flatten)]
    pub strangers: StrangerArgs,
}

/// Limits on concurrent work.
#[derive(Debug, Clone, Args)]
pub struct CapacityArgs {
    /// Maximum number of frames in flight
    #[arg(long, env = "SIGHTLINE_WORKER_FRAMES", default_value_t = 256, value_name = "NUMBER",
        value_parser = count::<usize>(1..=1_000_000))]
    pub worker_frames: usize,

    /// Maximum number of encoded bytes of the frames in flight
    #[arg(long, env = "SIGHTLINE_WORKER_BYTES", default_value = "64MiB", value_name = "BYTES",
        value_parser = bytes::<usize>(1..=1 << 40))]
    pub worker_bytes: usize,

    /// Maximum number of pixels of the decoded images in flight; a pixel needs three bytes, and up to ten while it is decoded
    #[arg(long, env = "SIGHTLINE_WORKER_PIXELS", default_value_t = 50_000_000, value_name = "PIXELS",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub worker_pixels: u64,
}

/// Checks that the file of models is valid.
impl Check for Config {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.models.registry());
    }
}

impl Config {
    /// Checks that the file of models is valid and has these detectors, and that faces may be compared if they are. Reads no model.
    pub fn check_with(&self, detectors: &[DetectorName], faces: &FaceArgs, errors: &mut SettingErrors) {
        errors.ensure(!self.identity.faces_live || faces.faces_search, || {
            "SIGHTLINE_FACES_LIVE: SIGHTLINE_FACES_SEARCH=off forbids to compare the faces of frames; set one of both".to_owned()
        });
        if let Some(registry) = errors.collect(self.models.registry()) {
            registry.check(detectors, errors);
        }
    }

    /// How images are decoded and go through the detectors.
    pub fn pipeline(&self, frames: &FrameArgs) -> PipelineSettings {
        PipelineSettings {
            inference: self.inference.settings(self.models.onnx.execution_provider),
            decode_threads: self.inference.decode_threads(),
            max_pixels: frames.max_frame_pixels,
            pixel_budget: self.capacity.worker_pixels,
        }
    }

    /// Folder of the crash log.
    pub fn state_dir(&self) -> PathBuf {
        self.worker_state_dir.clone().unwrap_or_else(|| std::env::temp_dir().join("sightline-detector-worker"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    fn read(arguments: &[&str]) -> Result<Config, String> {
        let program = Program::try_parse_from([&["program"], arguments].concat()).map_err(|error| error.to_string())?;
        Ok(program.config)
    }

    #[test]
    fn images_are_kept_for_a_week_by_default() {
        let default = read(&[]).unwrap();
        assert_eq!((default.keep_images, default.image_retention), (true, Duration::from_secs(7 * 86_400)));
        let other = read(&["--keep-images", "false", "--image-retention", "36h"]).unwrap();
        assert_eq!((other.keep_images, other.image_retention), (false, Duration::from_secs(36 * 3_600)));
    }

    #[test]
    fn the_former_names_of_settings_work() {
        let former = read(&["--keep-pictures", "false", "--picture-retention", "36h"]).unwrap();
        assert_eq!((former.keep_images, former.image_retention), (false, Duration::from_secs(36 * 3_600)));
    }

    #[test]
    fn the_error_for_an_invalid_value_names_it() {
        for (flag, value, named) in [
            ("--image-retention", "soon", "soon"),
            ("--batch-size", "0", "--batch-size"),
            ("--worker-pixels", "0", "--worker-pixels"),
            ("--execution-provider", "abacus", "abacus"),
        ] {
            let error = read(&[flag, value]).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
