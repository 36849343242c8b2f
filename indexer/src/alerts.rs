//! Evaluates the rules on a result and publishes the alerts.
//!
//! Alerts are published as soon as they are raised and do not wait for documents: subscribers wait
//! for them. The id of an alert is derived from the rule and its subject
//! ([`Subject::alert_subject`]), so a repeated result raises the same alert.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, ReaderItem, Start};
use consumer_kit::{Interrupted, PendingSend, Retry, Sender, backoff};
use contracts::alert::AlertData;
use contracts::{AlertEvent, AlertId, Detection, DetectionId, Event, Message, Outcome, ResultEvent, TopicRole};
use jiff::Timestamp;
use metrics::counter;
use platform::traces::{Span, Traces};
use rules::{DetectionSubject, Subject, evaluated_detections};
use tokio_util::sync::CancellationToken;

use crate::active_rules::{ActiveRule, RuleSet};
use crate::bounded_map::BoundedMap;

/// Number of published alerts whose ids are remembered, and of records that are read back from the
/// end of the topic: far more than are in flight when a member of the consumer group dies.
const REMEMBERED: usize = 20_000;
/// Time limit for each record when the end of the topic is read back.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The alerts of a result: at most one for each rule, about the matching detection with the highest confidence.
///
/// The work is bounded, and which part of it is done depends on the rules and the result alone: a repeated result raises the same
/// alerts as long as the rules are the same, and alerts with the same ids in any case.
pub fn alerts(rules: &RuleSet, result: &ResultEvent, now: Timestamp) -> Evaluated {
    let Outcome::Ok { width, height, detections, .. } = &result.data.outcome else { return Evaluated::default() };
    let data = &result.data;
    let cost = rules.cost(&result.tenant);
    let evaluated = most_confident(detections, evaluated_detections(cost));
    let subject = |detection| {
        Subject::Detection(DetectionSubject {
            frame_id: data.frame_id,
            detection,
            stream: data.stream.as_ref(),
            detector: &data.detector,
            width: *width,
            height: *height,
            captured_at: data.captured_at,
            watchlists: rules.watchlists(&result.tenant),
        })
    };
    let of_rule = |rule: &ActiveRule| {
        let mut matches = 0;
        let mut best: Option<Match<'_>> = None;
        for (index, detection) in evaluated.iter().copied() {
            let subject = subject(detection);
            if !rule.matches(&subject) {
                continue;
            }
            matches += 1;
            if best.as_ref().is_none_or(|known| detection.confidence > known.detection.confidence) {
                best = Some(Match { index, detection, subject });
            }
        }
        best.map(|best| alert(rule, result, &best, matches, now))
    };
    let alerts = rules.of(&result.tenant).filter_map(of_rule).collect();
    let steps = u64::from(cost) * evaluated.len() as u64;
    counter!("sightline_indexer_rule_steps_total").increment(steps);
    Evaluated { alerts, steps }
}

/// The outcome of evaluating the rules on a result.
#[derive(Default)]
pub struct Evaluated {
    /// The alerts.
    pub alerts: Vec<AlertEvent>,
    /// The work, in steps.
    pub steps: u64,
}

/// The detections on which rules are evaluated, with their indices: at most `limit`, those with the highest confidence.
fn most_confident(detections: &[Detection], limit: usize) -> Vec<(u32, &Detection)> {
    let mut chosen: Vec<_> = (0..).zip(detections).collect();
    if chosen.len() > limit {
        let left_out = (chosen.len() - limit) as u64;
        counter!("sightline_indexer_unevaluated_detections_total").increment(left_out);
        chosen.sort_by(|(_, one), (_, other)| other.confidence.total_cmp(&one.confidence));
        chosen.truncate(limit);
        chosen.sort_unstable_by_key(|(index, _)| *index);
    }
    chosen
}

/// A detection that matches a rule.
struct Match<'a> {
    /// Its index in the detections of the result.
    index: u32,
    detection: &'a Detection,
    /// The subject that the rule was evaluated on.
    subject: Subject<'a>,
}

fn alert(rule: &ActiveRule, result: &ResultEvent, best: &Match<'_>, matches: u32, raised_at: Timestamp) -> AlertEvent {
    let (data, detection) = (&result.data, best.detection);
    let id = DetectionId { frame: data.frame_id, detector: data.detector.clone(), index: best.index };
    AlertEvent {
        tenant: result.tenant.clone(),
        traceparent: result.traceparent.clone(),
        data: AlertData {
            id: AlertId::of(&rule.id, best.subject.alert_subject()),
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

/// Publishes alerts that are not on the topic yet.
pub struct AlertPublisher {
    bus: Arc<dyn Bus>,
    sender: Sender,
    sent: BoundedMap<AlertId, ()>,
    traces: Traces,
    stop: CancellationToken,
}

impl AlertPublisher {
    /// A publisher that remembers no alert yet.
    pub fn new(bus: Arc<dyn Bus>, sender: Sender, traces: Traces, stop: CancellationToken) -> Self {
        Self { bus, sender, sent: BoundedMap::new(REMEMBERED), traces, stop }
    }

    /// Puts the alerts that were not published before into the producer's queue. The caller awaits their acknowledgements.
    pub fn begin<'a>(&mut self, alerts: impl Iterator<Item = &'a AlertEvent>) -> Vec<PendingSend> {
        let mut pending = Vec::new();
        for alert in alerts {
            if !self.sent.contains(&alert.data.id) {
                counter!("sightline_indexer_alerts_total").increment(1);
                self.sent.first(alert.data.id, ());
                let (message, span) = self.message(alert);
                pending.push(self.sender.begin(TopicRole::Alerts, message).traced(span));
            }
        }
        pending
    }

    /// The message of an alert, and the span of sending it, which the message names as its parent if traces are on.
    fn message(&self, alert: &AlertEvent) -> (Message, Span) {
        let mut span = self.traces.producer("send alerts", alert.traceparent.as_deref());
        let Some(own) = span.traceparent() else { return (alert.to_message(), span) };
        span.set_id("alert.id", alert.data.id);
        span.set_id("rule.id", alert.data.rule_id);
        span.set_id("frame.id", alert.data.frame_id);
        (AlertEvent { traceparent: Some(own), ..alert.clone() }.to_message(), span)
    }

    /// Reads published alerts back from the end of the topic. The partitions of a member that died may bring results whose
    /// alerts it has published.
    pub async fn recall(&mut self) -> Result<(), Interrupted> {
        let mut retry = Retry::new("cannot read the end of the alerts topic", backoff::READ, &self.stop);
        while let Err(error) = self.read_end().await {
            retry.wait_or_fail(error).await?;
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
            let item = tokio::time::timeout(READ_TIMEOUT, reader.next()).await;
            let next = match item {
                Err(_) => return Err(BusError::Unavailable(format!("no record within {READ_TIMEOUT:?}"))),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(ReaderItem::Gap { to, .. })) => to,
                Ok(Ok(ReaderItem::Delivery(delivery))) => {
                    // Foreign records on the topic are no alerts of this indexer.
                    if let Ok(alert) = AlertEvent::from_message(&delivery.message) {
                        self.sent.first(alert.data.id, ());
                    }
                    delivery.position.offset + 1
                }
            };
            if next >= end {
                return Ok(());
            }
        }
    }
}
