//! Speech to text: recordings in, transcripts out.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod providers;
pub mod speech;
