//! Metrics of decoders and detectors. Their names begin with `sightline_worker_`, which dashboards and alert rules use.

use std::time::Duration;

use contracts::DetectorName;
use metrics::histogram;

/// Records the time of a stage. A frame passes `fetch`, `decode`, `queue`, `infer`, `keep` and `publish`; a batch passes the
/// parts of `infer`: `prepare`, `run` and `suppress`, and `crops` if networks run on the boxes found.
///
/// The caller records the stages around inference: only it knows how long an image waited for its bytes or a decoder.
pub fn stage(stage: &'static str, time: Duration) {
    histogram!("sightline_worker_stage_seconds", "stage" => stage).record(time.as_secs_f64());
}

/// Records the number of images in one call of a detector.
pub(crate) fn batch(detector: &DetectorName, size: usize) {
    histogram!("sightline_worker_batch_pictures", "detector" => detector.to_string()).record(size as f64);
}
