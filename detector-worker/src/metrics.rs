//! The worker's metrics, `sightline_worker_*`.

use std::time::Duration;

use contracts::DetectorName;
use metrics::{Counter, counter, gauge, histogram};

/// Counts a finished frame by its outcome: `ok`, `failed`, `skipped` (for other detectors) or `invalid` (not a frame).
pub fn frame(outcome: &'static str) {
    counter!("sightline_worker_frames_total", "outcome" => outcome).increment(1);
}

/// Records the time of a stage. A frame passes `fetch`, `decode`, `queue`, `infer`, `keep` and `publish`; a batch passes the
/// parts of `infer`: `prepare`, `run` and `suppress`, and `crops` if networks run on the boxes found.
pub fn stage(stage: &'static str, time: Duration) {
    histogram!("sightline_worker_stage_seconds", "stage" => stage).record(time.as_secs_f64());
}

/// Records the number of images in one call of a detector.
pub fn batch(detector: &DetectorName, size: usize) {
    histogram!("sightline_worker_batch_pictures", "detector" => detector.to_string()).record(size as f64);
}

/// Counts a retry of `fetch`, `infer`, `keep`, `publish` or `consume`.
pub fn retry(what: &'static str) {
    retries(what).increment(1);
}

/// The counter of [`retry`].
pub fn retries(what: &'static str) -> Counter {
    counter!("sightline_worker_retries_total", "what" => what)
}

/// Counts frames that retention dropped before this worker received them.
pub fn lost(frames: i64) {
    counter!("sightline_worker_frames_lost_total").increment(frames.unsigned_abs());
}

/// Counts one frame in `sightline_worker_frames_in_hand` until it is dropped.
pub struct InFlight(());

impl InFlight {
    /// Adds one frame to the gauge.
    pub fn new() -> Self {
        gauge!("sightline_worker_frames_in_hand").increment(1.0);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("sightline_worker_frames_in_hand").decrement(1.0);
    }
}
