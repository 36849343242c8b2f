//! Real recordings and real models: `SIGHTLINE_MODELS_DIR` and `SIGHTLINE_SAMPLES_DIR`. Without them, or without a model's file, a test prints
//! that it is skipped.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod engine;
mod file;
mod models;
mod providers;
mod serve;
mod silence;
mod sounds;
mod words;
mod worker;
