//! The names of the consumer groups, which services must agree on: who consumes, and who asks how far a group has come.

use crate::ids::DetectorName;

/// The group that turns results into documents and alerts.
pub const INDEXER: &str = "sightline.indexer";

/// The group of the workers that run this set of detectors, in whatever order the set is given.
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
    fn a_set_of_detectors_is_one_group_in_any_order() {
        let set = |names: &[&str]| -> Vec<DetectorName> { names.iter().map(|name| name.parse().unwrap()).collect() };
        assert_eq!(detector_worker(&set(&["vehicle", "face"])), "sightline.detector-worker.face+vehicle");
        assert_eq!(detector_worker(&set(&["face", "vehicle", "face"])), "sightline.detector-worker.face+vehicle");
    }
}
