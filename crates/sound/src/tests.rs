//! What the crate promises, on whole files: of each format, damaged, cut, protected, lying.

mod decoding;
mod previews;
mod probing;
mod refusals;
