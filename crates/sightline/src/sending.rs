//! Sending files to a server, which `push` and `faces enrol` share.

pub mod deadline;
pub mod image_file;
pub mod progress;
pub mod responses;
