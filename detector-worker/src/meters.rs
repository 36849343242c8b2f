//! What the worker counts, under one spelling: `sightline_worker_*`.

use std::time::Duration;

use contracts::DetectorName;
use metrics::{counter, gauge, histogram};

/// A frame was finished as `ok`, `failed`, `skipped` (for other detectors) or `invalid` (no frame at all).
pub fn frame(outcome: &'static str) {
    counter!("sightline_worker_frames_total", "outcome" => outcome).increment(1);
}

/// A frame spent this long in `fetch`, `decode`, `queue`, `infer`, `keep` or `publish`; a batch spent this long in a part of
/// `infer`: `prepare`, `run` or `suppress`.
pub fn stage(stage: &'static str, time: Duration) {
    histogram!("sightline_worker_stage_seconds", "stage" => stage).record(time.as_secs_f64());
}

/// A detector was called with this many pictures at once.
pub fn batch(detector: &DetectorName, size: usize) {
    histogram!("sightline_worker_batch_pictures", "detector" => detector.to_string()).record(size as f64);
}

/// Something that may work later is tried again: `fetch`, `infer`, `keep`, `publish` or `consume`.
pub fn retry(what: &'static str) {
    counter!("sightline_worker_retries_total", "what" => what).increment(1);
}

/// Frames that were dropped by retention before this worker came to them.
pub fn lost(frames: i64) {
    counter!("sightline_worker_frames_lost_total").increment(frames.unsigned_abs());
}

/// Counts a frame as in hand while it lives.
pub struct InHand(());

impl InHand {
    /// One more frame in hand.
    pub fn new() -> Self {
        gauge!("sightline_worker_frames_in_hand").increment(1.0);
        Self(())
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        gauge!("sightline_worker_frames_in_hand").decrement(1.0);
    }
}
