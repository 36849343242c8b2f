//! Converts stored results, detections and rules to the bodies of the API. [`subject_names`](super::subject_names) adds names.

use contracts::api::{DetectionView, FrameView, ResultError, ResultStatus, ResultView, RuleView};
use contracts::{BlobKey, DetectionId, Outcome, ResultEvent};
use store::StoredDetection;

use crate::rated_rules::RatedRule;

/// A frame from its results; `None` without any.
pub fn frame<'a>(results: impl IntoIterator<Item = &'a ResultEvent>) -> Option<FrameView> {
    let mut results = results.into_iter();
    let first = results.next()?;
    let mut view = FrameView {
        frame_id: first.data.frame_id,
        stream: first.data.stream.clone(),
        captured_at: first.data.captured_at,
        width: 0,
        height: 0,
        detections: Vec::new(),
        results: Vec::new(),
        image_url: None,
    };
    for event in std::iter::once(first).chain(results) {
        add(&mut view, event);
    }
    Some(view)
}

fn add(view: &mut FrameView, event: &ResultEvent) {
    let data = &event.data;
    let mut result = ResultView {
        detector: data.detector.clone(),
        model: data.model.clone(),
        status: ResultStatus::Ok,
        count: 0,
        processed_at: data.processed_at,
        error: None,
    };
    match &data.outcome {
        Outcome::Ok { width, height, detections, image } => {
            (view.width, view.height) = (view.width.max(*width), view.height.max(*height));
            if image.is_some() {
                view.image_url = Some(format!("/v1/frames/{}/image", data.frame_id));
            }
            for (index, detection) in (0..).zip(detections) {
                result.count += 1;
                let id = DetectionId { frame: data.frame_id, detector: data.detector.clone(), index };
                view.detections.push(DetectionView {
                    id: id.to_string(),
                    frame_id: data.frame_id,
                    stream: data.stream.clone(),
                    detector: data.detector.clone(),
                    captured_at: data.captured_at,
                    subject_name: None,
                    detection: detection.clone(),
                });
            }
        }
        Outcome::Failed { code, message } => {
            result.status = ResultStatus::Failed;
            result.error = Some(ResultError { code: *code, message: message.clone() });
        }
    }
    view.results.push(result);
}

/// The blob key of the frame's image, if one of the results kept it.
pub fn image_key<'a>(results: impl IntoIterator<Item = &'a ResultEvent>) -> Option<BlobKey> {
    results.into_iter().find_map(|event| {
        let Outcome::Ok { image: Some(key), .. } = &event.data.outcome else { return None };
        // An external result may contain any key, so only the image of this frame is served.
        key.is_kept_image_of(&event.tenant, event.data.frame_id).then(|| key.clone())
    })
}

/// A detection as the API returns it.
pub fn detection(stored: StoredDetection) -> DetectionView {
    DetectionView {
        id: stored.id.to_string(),
        frame_id: stored.id.frame,
        stream: stored.stream,
        detector: stored.id.detector,
        captured_at: stored.captured_at,
        subject_name: None,
        detection: stored.detection,
    }
}

/// A rule as the API returns it. A rule without a tenant is built in.
pub fn rule(RatedRule { rule, cost, state, reason }: RatedRule) -> RuleView {
    RuleView {
        id: rule.id,
        built_in: rule.tenant.is_none(),
        name: rule.name,
        condition: rule.condition,
        enabled: rule.enabled,
        cost,
        state,
        reason,
    }
}
