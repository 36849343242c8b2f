//! Images in, detections out: decodes images and runs models.
//!
//! ```text
//!  bytes ──▶ media ──▶ pixels ──▶ Image ──▶ inference ──▶ batches ──▶ threads, each with a detector ──▶ Findings
//!           probe, decode                  bounded queue                 ▲
//!                                          registry: models.yaml, files ─┤ opened on its thread
//!                                          runtime: ONNX Runtime ────────┘
//! ```
//!
//! In: the bytes of an image as a client sent them, and the settings of models and threads ([`ModelArgs`], [`InferenceArgs`]). Out: the
//! upright [`pixels`], what each [detector](model::Detector) found in them, and the [quality](face_quality) of a face.
//!
//! Guarantees: no bytes make [`media::decode`] panic or allocate more than its limits allow. A model file is opened only if it has the
//! hash of its entry. Every image of a batch has an outcome of its own, and errors say whether a retry can help. A session stays on its
//! thread; its queue is bounded, and a job whose caller no longer waits is not run. An execution provider that is not available is an
//! error, never a silent fallback. Nothing is downloaded except by [`registry::Registry::pull`].
//!
//! A [pipeline](pipeline::Pipeline) bounds the decoded images in memory. The caller survives native code that crashes: decoders and ONNX
//! Runtime are C and C++. This crate knows no bus, no store and no HTTP server, so any service can use it, each with its own flow.

mod args;
mod batcher;
pub mod face_quality;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod idle_memory;
pub mod inference;
pub mod media;
pub mod metrics;
pub mod model;
pub mod pipeline;
pub mod pixels;
pub mod registry;
pub mod runtime;
pub mod sample;

pub use args::{InferenceArgs, ModelArgs};
