//! From a result to the alerts that the rules raise about it; the memory of what was raised already; and the alerts' way to
//! the log, on which they wait for no document: somebody does.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, ReaderItem, Start};
use contracts::alert::AlertData;
use contracts::{AlertEvent, AlertId, Detection, DetectionId, Event, Outcome, ResultEvent, TopicRole};
use jiff::Timestamp;
use metrics::counter;
use rules::{DetectionSubject, Subject};

use crate::recent::Recent;
use crate::rules_in_force::{ActiveRule, RuleSet};
use crate::sending::{Interrupted, Sending, Sent, pauses};

/// How many alerts are remembered, and read back from the log's end: many times what can be in flight when a member dies.
const REMEMBERED: usize = 20_000;
/// How long the log may take to hand over what it says it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// The alerts about a result: at most one a rule, about the most certain of the detections that match.
pub fn alerts(rules: &RuleSet, result: &ResultEvent, now: Timestamp) -> Vec<AlertEvent> {
    let Outcome::Ok { width, height, detections, .. } = &result.data.outcome else { return Vec::new() };
    let data = &result.data;
    let subject = |detection| {
        Subject::Detection(DetectionSubject {
            frame_id: data.frame_id,
            detection,
            stream: data.stream.as_ref(),
            detector: &data.detector,
            width: *width,
            height: *height,
            captured_at: data.captured_at,
        })
    };
    let of_rule = |rule: &ActiveRule| {
        let matching = (0_u32..).zip(detections).filter(|(_, detection)| rule.matches(&subject(detection)));
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
            attributes: detection.attributes.clone(),
            matches,
            captured_at: data.captured_at,
            raised_at,
        },
    }
}

/// Sends alerts that the log does not have.
pub struct Raising {
    bus: Arc<dyn Bus>,
    sending: Sending,
    raised: Recent<AlertId, ()>,
}

impl Raising {
    /// Knows of none yet.
    pub fn new(bus: Arc<dyn Bus>, sending: Sending) -> Self {
        Self { bus, sending, raised: Recent::new(REMEMBERED) }
    }

    /// Hands those to the log that it is not known to have. Who takes what comes back sees to it that the log gets them.
    pub fn raise<'a>(&mut self, alerts: impl Iterator<Item = &'a AlertEvent>) -> Vec<Sent> {
        let mut sent = Vec::new();
        for alert in alerts {
            if !self.raised.contains(&alert.data.id) {
                counter!("sightline_indexer_alerts_total").increment(1);
                self.raised.first(alert.data.id, ());
                sent.push(self.sending.begin(TopicRole::Alerts, alert.to_message()));
            }
        }
        sent
    }

    /// Reads the end of the log: partitions that come from a member that died may bring results whose alerts it raised.
    pub async fn recall(&mut self) -> Result<(), Interrupted> {
        let mut pauses = pauses();
        while let Err(error) = self.read_end().await {
            self.sending.wait_or_fail(error, "the end of the alerts cannot be read", &mut pauses).await?;
        }
        Ok(())
    }

    async fn read_end(&mut self) -> Result<(), BusError> {
        let ranges = self.bus.ranges(TopicRole::Alerts).await?;
        let Some(end) = ranges.iter().find(|range| range.end > range.earliest).map(|range| range.end) else {
            return Ok(());
        };
        let mut reader = self.bus.reader(TopicRole::Alerts, Start::Tail(REMEMBERED as u64)).await?;
        loop {
            let item = tokio::time::timeout(PATIENCE, reader.next()).await;
            let read_to = match item {
                Err(_) => return Err(BusError::Unavailable(format!("no end of the alerts within {PATIENCE:?}"))),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(ReaderItem::Gap { to, .. })) => to,
                Ok(Ok(ReaderItem::Delivery(delivery))) => {
                    // Whatever else somebody put there is no alert of ours.
                    if let Ok(alert) = AlertEvent::from_message(&delivery.message) {
                        self.raised.first(alert.data.id, ());
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
