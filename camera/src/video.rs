//! From a file or a network source to JPEG images, through FFmpeg. Nothing else in the workspace links FFmpeg.
//!
//! All of it blocks, and runs on a thread of its own.

mod failure;
mod guard;
mod input;
mod jpeg;
mod log;
mod open;
mod orientation;
mod planes;
mod timeline;
mod watch;

pub use failure::Failure;
pub use input::Input;
pub use jpeg::Encoder;
pub use log::{certificate_error, is_about_certificate, last_error, start_log};
pub use orientation::Orientation;
pub use planes::{Planar, Planes, fitted};
pub use watch::{Cause, Watch};

/// A decoded frame, as FFmpeg has it.
pub type Frame = ffmpeg_next::frame::Video;
