//! Sending files to a server, which `push`, `faces enrol` and `books upload` share.

pub mod deadline;
pub mod image_file;
pub mod progress;
pub mod responses;
