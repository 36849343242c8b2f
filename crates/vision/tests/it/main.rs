//! Decoders and detectors as a service uses them.

mod face_quality;
mod vision;
