//! Builds result events from the outcomes of the detectors.

use bus::Position;
use contracts::result::ResultData;
use contracts::{FrameEvent, Message, Outcome, ResultEvent, whole_microseconds};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Analysis, FrameProcessor};
use crate::inference::Inference;
use crate::metrics;
use crate::model::Findings;
use crate::pipeline::Failure;
use crate::publisher::ProcessedFrame;

impl FrameProcessor {
    /// One result per requested detector. The first failure becomes the cause of a dead letter.
    pub(super) fn build_results(
        &self,
        position: Position,
        message: Message,
        frame: &FrameEvent,
        detectors: &[usize],
        analysis: Result<Analysis, Failure>,
    ) -> ProcessedFrame {
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
                    Ok(Findings { detections }) => Outcome::Ok { width, height, detections, image: image_key.clone() },
                    Err(failure) => failed(failure),
                })
                .collect(),
        };
        metrics::frame(if dead_letter.is_some() { "failed" } else { "ok" });
        let inferences = detectors.iter().filter_map(|&detector| self.pipeline.inferences().get(detector));
        let results = inferences.zip(outcomes).map(|(inference, outcome)| result(frame, &message, inference, outcome));
        ProcessedFrame { position, results: results.collect(), dead_letter, message }
    }
}

fn result(frame: &FrameEvent, message: &Message, inference: &Inference, outcome: Outcome) -> ResultEvent {
    let key = message.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
    ResultEvent {
        id: Uuid::now_v7(),
        tenant: frame.tenant.clone(),
        key: key.unwrap_or_else(|| frame.id.to_string()),
        traceparent: frame.traceparent.clone(),
        reply_to: frame.reply_to.clone(),
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
