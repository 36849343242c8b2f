//! Frames.

mod bad_uploads;
mod read;
mod submit;
mod wait;
