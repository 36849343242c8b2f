//! Time by stage, from the worker's histograms and the timestamps in results and alerts.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context as _;
use contracts::FrameId;
use jiff::Timestamp;

use super::services::Services;
use super::timings::FrameTiming;

/// The worker's stages in order.
const WORKER: [&str; 4] = ["decode", "queue", "infer", "keep"];

/// Total seconds and frames of each stage of the worker.
#[derive(Debug, Default)]
pub struct Stages(BTreeMap<String, (f64, f64)>);

impl Stages {
    /// Reads the worker's totals.
    pub async fn read(services: &Services) -> anyhow::Result<Self> {
        Self::parse(&reqwest::get(&services.metrics).await?.error_for_status()?.text().await?)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut stages = Self::default();
        for line in text.lines().filter_map(|line| line.strip_prefix("sightline_worker_stage_seconds_")) {
            let (kind, rest) = line.split_once("{stage=\"").context("the metrics have another form")?;
            let (stage, value) = rest.split_once("\"} ").unwrap_or((rest, ""));
            let entry = stages.0.entry(stage.to_owned()).or_default();
            match kind {
                "sum" => entry.0 = value.trim().parse()?,
                "count" => entry.1 = value.trim().parse()?,
                _ => {}
            }
        }
        Ok(stages)
    }

    /// The difference to earlier totals.
    pub fn since(&self, before: &Self) -> Self {
        let stages = self.0.iter().map(|(stage, (seconds, count))| {
            let (seconds_before, count_before) = before.0.get(stage).copied().unwrap_or_default();
            (stage.clone(), (seconds - seconds_before, count - count_before))
        });
        Self(stages.collect())
    }

    fn mean(&self, stage: &str) -> f64 {
        self.0.get(stage).map_or(0.0, |(seconds, count)| seconds * 1e3 / count.max(1.0))
    }

    /// Mean time of decoding and inference, in milliseconds.
    pub fn work(&self) -> f64 {
        self.mean("decode") + self.mean("infer")
    }

    /// Mean milliseconds of each stage from due to alert.
    pub fn parts(&self, frames: &[FrameTiming], processed: &HashMap<FrameId, Timestamp>) -> Vec<(&'static str, f64)> {
        let known: Vec<(&FrameTiming, Timestamp)> =
            frames.iter().filter_map(|frame| Some((frame, *processed.get(&frame.id)?))).collect();
        let mean = |span: &dyn Fn(&FrameTiming, Timestamp) -> (Timestamp, Timestamp)| {
            let spans = known.iter().map(|(frame, processed)| {
                let (from, to) = span(frame, *processed);
                to.duration_since(from).as_secs_f64() * 1e3
            });
            spans.sum::<f64>() / known.len().max(1) as f64
        };
        let in_worker: Vec<(&'static str, f64)> = WORKER.iter().map(|stage| (*stage, self.mean(stage))).collect();
        let worked: f64 = in_worker.iter().map(|(_, mean)| mean).sum();
        // The 202 and the delivery to the worker are concurrent, so this may be negative.
        let delivered = mean(&|frame, processed| (frame.accepted, processed)) - worked;
        let mut parts =
            vec![("due to 202", mean(&|frame, _| (frame.due, frame.accepted))), ("202 to worker", delivered)];
        parts.extend(in_worker);
        parts.push(("result to alert raised", mean(&|frame, processed| (processed, frame.raised))));
        parts.push(("alert raised to subscriber", mean(&|frame, _| (frame.raised, frame.seen))));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE sightline_worker_stage_seconds histogram\n\
        sightline_worker_stage_seconds_bucket{stage=\"decode\",le=\"0.001\"} 3\n\
        sightline_worker_stage_seconds_bucket{stage=\"decode\",le=\"+Inf\"} 10\n\
        sightline_worker_stage_seconds_sum{stage=\"decode\"} 0.02\n\
        sightline_worker_stage_seconds_count{stage=\"decode\"} 10\n\
        sightline_worker_frames_total{outcome=\"ok\"} 10\n";
    const AFTER: &str = "sightline_worker_stage_seconds_sum{stage=\"decode\"} 0.05\n\
        sightline_worker_stage_seconds_count{stage=\"decode\"} 20\n\
        sightline_worker_stage_seconds_sum{stage=\"infer\"} 0.05\n\
        sightline_worker_stage_seconds_count{stage=\"infer\"} 10\n";

    #[test]
    fn a_stage_has_its_mean_time_between_two_samples() {
        let (before, after) = (Stages::parse(BEFORE).unwrap(), Stages::parse(AFTER).unwrap());
        let between = after.since(&before);
        assert!(
            (between.mean("decode") - 3.0).abs() < 1e-9 && (between.mean("infer") - 5.0).abs() < 1e-9,
            "{between:?}"
        );
        assert!((between.work() - 8.0).abs() < 1e-9 && between.mean("keep") == 0.0);
    }

    #[test]
    fn the_parts_add_up_to_the_total() {
        let at = |milliseconds: i64| Timestamp::from_millisecond(milliseconds).unwrap();
        let id = FrameId::now();
        let frame = FrameTiming { id, due: at(0), accepted: at(4), raised: at(30), seen: at(37) };
        let stages = Stages::parse(AFTER).unwrap();
        let parts = stages.parts(&[frame], &HashMap::from([(id, at(21))]));
        let whole: f64 = parts.iter().map(|(_, mean)| mean).sum();
        assert!((whole - 37.0).abs() < 1e-6, "{parts:?}");
        assert!(parts.contains(&("result to alert raised", 9.0)), "{parts:?}");
    }
}
