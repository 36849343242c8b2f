//! Decoders and detectors as a service uses them.

mod vision;
