//! Makes documents and alerts of messages: decodes results, evaluates the rules, and recognises repeated work.

use std::sync::Arc;
use std::time::Duration;

use bus::Delivery;
use consumer_kit::DeadLetterQueue;
use contracts::{Cause, DetectorName, FrameId, Outcome, TenantId};
use jiff::{SignedDuration, Timestamp};
use platform::traces::{Span, Traces};
use store::Indexed;
use uuid::Uuid;

use super::Batch;
use crate::Config;
use crate::active_rules::ActiveRules;
use crate::alerts::{Evaluated, alerts};
use crate::bounded_map::BoundedMap;
use crate::consumer::{ResultDecoder, cause};

/// Number of results whose ids are remembered, to recognise a repeat of a detector's work.
const REMEMBERED_RESULTS: usize = 20_000;

/// Converts messages into the parts of a batch.
pub(super) struct BatchBuilder {
    decoder: ResultDecoder,
    dead_letters: DeadLetterQueue,
    rules: Arc<ActiveRules>,
    retention: SignedDuration,
    /// That of strangers, if it is another one.
    strangers_retention: Option<SignedDuration>,
    /// The event id of the first result of each frame and detector.
    first_results: BoundedMap<(TenantId, FrameId, DetectorName), Uuid>,
    traces: Traces,
}

impl BatchBuilder {
    pub(super) fn new(
        config: &Config,
        decoder: ResultDecoder,
        dead_letters: DeadLetterQueue,
        rules: Arc<ActiveRules>,
        traces: Traces,
    ) -> Self {
        // At most a century.
        let signed = |retention: Duration| SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
        Self {
            decoder,
            dead_letters,
            rules,
            retention: signed(config.retention),
            strangers_retention: config.strangers.faces_strangers_retention.map(signed),
            first_results: BoundedMap::new(REMEMBERED_RESULTS),
            traces,
        }
    }

    /// Adds a delivery to a batch. Returns the steps that the rules took.
    pub(super) fn add(&mut self, batch: &mut Batch, delivery: Delivery) -> u64 {
        let mut taken = 0;
        let mut span = self.span(&delivery);
        match self.document(&delivery, &mut span) {
            Ok((document, steps)) => {
                if self.traces.are_on() {
                    batch.spans.push(span);
                }
                batch.documents.push(document);
                batch.delivery_of.push(batch.deliveries.len());
                taken = steps;
            }
            Err(cause) => {
                span.fail(&cause.code);
                let original = delivery.message.clone();
                batch.dead_letters.push(self.dead_letters.letter(delivery.position, original, cause));
            }
        }
        batch.deliveries.push(delivery);
        taken
    }

    fn span(&self, delivery: &Delivery) -> Span {
        let parent = delivery.message.headers.text("ce_traceparent").filter(|_| self.traces.are_on());
        let mut span = self.traces.consumer("process results", parent, None);
        span.set("messaging.destination.partition.id", i64::from(delivery.position.partition));
        span.set("messaging.kafka.offset", delivery.position.offset);
        span
    }

    fn document(&mut self, delivery: &Delivery, span: &mut Span) -> Result<(Indexed, u64), Cause> {
        let result = self.decoder.decode(delivery)?;
        span.set_id("frame.id", result.data.frame_id);
        // Stores keep milliseconds: an alert has the same time on the log and in the store.
        let now = Timestamp::now();
        let indexed_at = now.round(jiff::Unit::Millisecond).unwrap_or(now);
        // Retention counts from now and not from the capture: an old photograph is not deleted on arrival.
        let expires_at = match result.retention {
            Some(days) => days.expiry(indexed_at),
            None => indexed_at.checked_add(self.retention).map_err(|error| cause("unstorable", &error))?,
        };
        let mut evaluating = span.child("evaluate rules");
        let Evaluated { mut alerts, steps } = if self.is_repeated_work(&result) {
            Evaluated::default()
        } else {
            alerts(&self.rules.now(), &result, indexed_at)
        };
        evaluating.set_count("alerts.count", alerts.len());
        evaluating.set("rules.steps", i64::try_from(steps).unwrap_or(i64::MAX));
        drop(evaluating);
        if let Some(traceparent) = span.traceparent() {
            alerts.iter_mut().for_each(|alert| alert.traceparent = Some(traceparent.clone()));
        }
        let of_strangers = |retention| indexed_at.checked_add(retention).unwrap_or(expires_at);
        let strangers_expire_at = self.strangers_retention.map(of_strangers);
        Ok((Indexed { result, alerts, indexed_at, expires_at, strangers_expire_at }, steps))
    }

    /// Whether the detector has published a result for this frame before, under another event id, as after a crash. The
    /// store ignores such a repeat, and it raises no alert.
    ///
    /// The store detects a repeat only during the write, and alerts do not wait for the write. So this process
    /// remembers recent results. If it has forgotten one (because it crashed too), the repeated alert has the same id
    /// as the first one, since ids are derived from rule and frame, and consumers of the log drop it. A failed result
    /// is not remembered: the store replaces it by a later result, which raises the first alerts.
    fn is_repeated_work(&mut self, result: &contracts::ResultEvent) -> bool {
        if matches!(result.data.outcome, Outcome::Failed { .. }) {
            return false;
        }
        let key = (result.tenant.clone(), result.data.frame_id, result.data.detector.clone());
        self.first_results.first(key, result.id) != result.id
    }
}
