//! The worker's metrics, `sightline_worker_*`.

use metrics::{Counter, counter, gauge};
pub use vision::metrics::stage;

/// Counts a finished frame by its outcome: `ok`, `failed`, `skipped` (for other detectors) or `invalid` (not a frame).
pub fn frame(outcome: &'static str) {
    counter!("sightline_worker_frames_total", "outcome" => outcome).increment(1);
}

/// Counts a retry of `fetch`, `infer`, `keep`, `publish` or `consume`.
pub fn retry(what: &'static str) {
    retries(what).increment(1);
}

/// The counter of [`retry`].
pub fn retries(what: &'static str) -> Counter {
    counter!("sightline_worker_retries_total", "what" => what)
}

/// Counts a face by its identity: `subject`, `unknown` or `unchecked`.
pub fn identity(identity: &'static str) {
    counter!("sightline_worker_faces_total", "identity" => identity).increment(1);
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
