//! From a result to the alerts that the rules raise about it, and the memory of what was raised already.

use std::time::Duration;

use bus::{Bus, BusError, ReaderItem, Start};
use contracts::alert::AlertData;
use contracts::{AlertEvent, AlertId, Detection, DetectionId, Event, Outcome, ResultEvent, Role};
use jiff::Timestamp;
use rules::Facts;

use crate::recent::Recent;
use crate::rules_in_force::{ActiveRule, RuleSet};

/// How many alerts are remembered, and read back from the log's end: many times what can be in flight when a member dies.
const REMEMBERED: usize = 20_000;
/// How long the log may take to hand over what it says it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// The alerts about a result: at most one a rule, about the most certain of the detections that match.
pub fn alerts(rules: &RuleSet, result: &ResultEvent, now: Timestamp) -> Vec<AlertEvent> {
    let Outcome::Ok { width, height, detections, .. } = &result.data.outcome else { return Vec::new() };
    let data = &result.data;
    let facts = |detection| Facts {
        detection,
        stream: data.stream.as_ref(),
        detector: &data.detector,
        width: *width,
        height: *height,
        captured_at: data.captured_at,
    };
    let of_rule = |rule: &ActiveRule| {
        let matching = (0_u32..).zip(detections).filter(|(_, detection)| rule.matches(&facts(detection)));
        let mut matches = 0;
        let mut surest: Option<(u32, &Detection)> = None;
        for (index, detection) in matching {
            matches += 1;
            if surest.is_none_or(|(_, best)| detection.confidence > best.confidence) {
                surest = Some((index, detection));
            }
        }
        surest.map(|(index, detection)| alert(rule, result, index, detection, matches, now))
    };
    rules.of(&result.tenant).filter_map(of_rule).collect()
}

fn alert(
    rule: &ActiveRule,
    result: &ResultEvent,
    index: u32,
    detection: &Detection,
    matches: u32,
    raised_at: Timestamp,
) -> AlertEvent {
    let data = &result.data;
    let id = DetectionId { frame: data.frame_id, detector: data.detector.clone(), index };
    AlertEvent {
        tenant: result.tenant.clone(),
        traceparent: result.traceparent.clone(),
        data: AlertData {
            id: AlertId::of(&rule.id, &data.frame_id),
            rule: rule.name.clone(),
            rule_id: rule.id,
            frame_id: data.frame_id,
            stream: data.stream.clone(),
            detector: data.detector.clone(),
            detection_id: id.to_string(),
            label: detection.label.clone(),
            confidence: detection.confidence,
            bounds: detection.bounds,
            vehicle: detection.vehicle.clone(),
            matches,
            captured_at: data.captured_at,
            raised_at,
        },
    }
}

/// Which alerts the log has already.
pub struct Raised(Recent<AlertId, ()>);

impl Raised {
    /// Knows of none yet.
    pub fn new() -> Self {
        Self(Recent::new(REMEMBERED))
    }

    /// Whether the log is known to have this alert.
    pub fn contains(&self, id: &AlertId) -> bool {
        self.0.contains(id)
    }

    /// The log has this alert.
    pub fn insert(&mut self, id: AlertId) {
        self.0.first(id, ());
    }

    /// Reads the end of the log: partitions that come from a member that died may bring results whose alerts it raised.
    pub async fn recall(&mut self, bus: &dyn Bus) -> Result<(), BusError> {
        let ranges = bus.ranges(Role::Alerts).await?;
        let Some(end) = ranges.iter().find(|range| range.end > range.earliest).map(|range| range.end) else {
            return Ok(());
        };
        let mut reader = bus.reader(Role::Alerts, Start::Tail(REMEMBERED as u64)).await?;
        loop {
            let item = tokio::time::timeout(PATIENCE, reader.next()).await;
            let read_to = match item {
                Err(_) => return Err(BusError::Unavailable(format!("no end of the alerts within {PATIENCE:?}"))),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(ReaderItem::Gap { to, .. })) => to,
                Ok(Ok(ReaderItem::Delivery(delivery))) => {
                    // Whatever else somebody put there is no alert of ours.
                    if let Ok(alert) = AlertEvent::from_message(&delivery.message) {
                        self.insert(alert.data.id);
                    }
                    delivery.position.offset + 1
                }
            };
            if read_to >= end {
                return Ok(());
            }
        }
    }
}
