//! Names of consumer groups. Used by the consumers and by the services that query their lag.

use crate::ids::DetectorName;

/// The indexer's group on the results topic.
pub const INDEXER: &str = "sightline.indexer";
/// The group of the services `faces` on the topic of uploads.
pub const FACES: &str = "sightline.faces";
/// The group of the audio workers on the topic of tasks.
pub const AUDIO_WORKER: &str = "sightline.audio-worker";

/// The group of the workers with this set of detectors on the frames topic. The order of the set does not matter.
pub fn detector_worker(detectors: &[DetectorName]) -> String {
    let mut names: Vec<&str> = detectors.iter().map(DetectorName::as_str).collect();
    names.sort_unstable();
    names.dedup();
    format!("sightline.detector-worker.{}", names.join("+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_detectors_does_not_change_the_group() {
        let set = |names: &[&str]| -> Vec<DetectorName> { names.iter().map(|name| name.parse().unwrap()).collect() };
        assert_eq!(detector_worker(&set(&["vehicle", "face"])), "sightline.detector-worker.face+vehicle");
        assert_eq!(detector_worker(&set(&["face", "vehicle", "face"])), "sightline.detector-worker.face+vehicle");
    }
}
