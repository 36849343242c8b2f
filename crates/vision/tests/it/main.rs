//! Decoders and detectors as a service uses them.

mod face_quality;
mod large_faces;
mod vision;
