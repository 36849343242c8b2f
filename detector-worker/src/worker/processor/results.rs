//! Builds result events from the outcomes of the detectors.

use contracts::result::ResultData;
use contracts::{FrameEvent, Message, Outcome, ResultEvent, whole_microseconds};
use jiff::Timestamp;
use platform::traces::Span;
use uuid::Uuid;
use vision::inference::Inference;
use vision::model::Findings;
use vision::pipeline::Failure;

use super::{Analysis, FrameProcessor, ProcessedDelivery};
use crate::metrics;
use crate::publisher::{FrameSpans, ProcessedFrame};

impl FrameProcessor {
    /// One result per requested detector. The first failure becomes the cause of a dead letter.
    pub(super) fn build_results(
        &self,
        delivery: ProcessedDelivery,
        frame: &FrameEvent,
        detectors: &[usize],
        analysis: Result<Analysis, Failure>,
    ) -> ProcessedFrame {
        let ProcessedDelivery { position, message, mut span } = delivery;
        let mut dead_letter = None;
        let mut failed = |failure: Failure| {
            dead_letter.get_or_insert((failure.code.as_str().to_owned(), failure.message.clone()));
            Outcome::Failed { code: failure.code, message: failure.message }
        };
        let outcomes: Vec<Outcome> = match analysis {
            Err(failure) => detectors.iter().map(|_| failed(failure.clone())).collect(),
            Ok(Analysis { width, height, findings, image_key }) => findings
                .into_iter()
                .map(|findings| match findings {
                    // Embeddings identify people: they are on no topic and in no document.
                    Ok(Findings { detections, embeddings: _ }) => {
                        Outcome::Ok { width, height, detections, image: image_key.clone() }
                    }
                    Err(failure) => failed(failure),
                })
                .collect(),
        };
        metrics::frame(if dead_letter.is_some() { "failed" } else { "ok" });
        describe(&mut span, &outcomes, dead_letter.as_ref().map(|(code, _)| code));
        let inferences = detectors.iter().filter_map(|&detector| self.pipeline.inferences().get(detector));
        let (mut results, mut spans) = (Vec::with_capacity(outcomes.len()), FrameSpans::of(span));
        for (inference, outcome) in inferences.zip(outcomes) {
            let traceparent = spans.send_result(frame.id).or_else(|| frame.traceparent.clone());
            results.push(result(frame, &message, traceparent, inference, outcome));
        }
        ProcessedFrame { position, results, dead_letter, message, spans }
    }
}

/// What the span of a frame says about the outcomes of its detectors.
fn describe(span: &mut Span, outcomes: &[Outcome], failure: Option<&String>) {
    if !span.is_recording() {
        return;
    }
    let detections = outcomes.iter().map(|outcome| match outcome {
        Outcome::Ok { detections, .. } => detections.len(),
        Outcome::Failed { .. } => 0,
    });
    span.set_count("detections.count", detections.sum());
    if let Some(Outcome::Ok { width, height, .. }) = outcomes.first() {
        span.set("image.width", i64::from(*width));
        span.set("image.height", i64::from(*height));
    }
    if let Some(code) = failure {
        span.fail(code);
    }
}

fn result(
    frame: &FrameEvent,
    message: &Message,
    traceparent: Option<String>,
    inference: &Inference,
    outcome: Outcome,
) -> ResultEvent {
    let key = message.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
    ResultEvent {
        id: Uuid::now_v7(),
        tenant: frame.tenant.clone(),
        key: key.unwrap_or_else(|| frame.id.to_string()),
        traceparent,
        reply_to: frame.reply_to.clone(),
        retention: frame.retention,
        data: ResultData {
            frame_id: frame.id,
            stream: frame.stream.clone(),
            detector: inference.name().clone(),
            model: inference.model().to_owned(),
            captured_at: frame.captured_at,
            processed_at: whole_microseconds(Timestamp::now()),
            outcome,
        },
    }
}
