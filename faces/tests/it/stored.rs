//! Results as the indexer stores them.

use std::time::Duration;

use bytes::Bytes;
use contracts::alert::AlertData;
use contracts::result::ResultData;
use contracts::{
    AlertEvent, AlertId, Attributes, BlobKey, BlobKind, BoundingBox, Detection, DetectionId, FrameId, Outcome,
    ResultEvent, RuleId, TenantId,
};
use jiff::Timestamp;
use store::{AlertFilter, Blobs, Indexed, PageRequest, ResultStore, TenantScope};
use uuid::Uuid;

use crate::test_service::TestService;

/// A frame with one face, which was taken for a subject.
pub struct SeenFrame {
    /// Id of the face's detection.
    pub detection: DetectionId,
    /// Key of the kept image.
    pub image: BlobKey,
}

impl SeenFrame {
    /// Path of the detection's rejection.
    pub fn reject(&self) -> String {
        format!("/v1/detections/{}/reject", self.detection)
    }
}

impl TestService {
    /// Stores a frame of a tenant with its image and an alert.
    pub async fn seen(&self, tenant: &str, subject: &str, bounds: BoundingBox, image: Vec<u8>) -> SeenFrame {
        let (frame_id, now) = (FrameId::now(), Timestamp::now());
        let tenant: TenantId = tenant.parse().unwrap();
        let key = BlobKey::new(BlobKind::Frames, now, &tenant, frame_id);
        self.blobs.put(&key, Bytes::from(image)).await.unwrap();
        let detection = DetectionId { frame: frame_id, detector: "face".parse().unwrap(), index: 0 };
        let mut attributes = Attributes::default();
        attributes.set("identity".parse().unwrap(), "subject");
        attributes.set("subject".parse().unwrap(), subject);
        attributes.set("similarity".parse().unwrap(), 0.5);
        let face = Detection {
            label: "face".to_owned(),
            confidence: 0.9,
            bounds: Some(bounds),
            landmarks: Vec::new(),
            attributes: attributes.clone(),
        };
        let data = ResultData {
            frame_id,
            stream: None,
            detector: detection.detector.clone(),
            model: "yunet".to_owned(),
            captured_at: now,
            processed_at: now,
            outcome: Outcome::Ok { width: 640, height: 480, detections: vec![face], image: Some(key.clone()) },
        };
        let rule_id = RuleId::built_in("face seen");
        let alert = AlertData {
            id: AlertId::of(&rule_id, &frame_id),
            rule: "face seen".to_owned(),
            rule_id,
            frame_id,
            stream: None,
            detector: detection.detector.clone(),
            detection_id: detection.to_string(),
            label: "face".to_owned(),
            confidence: 0.9,
            bounds: Some(bounds),
            attributes,
            matches: 1,
            captured_at: now,
            raised_at: now,
        };
        let result = ResultEvent {
            id: Uuid::now_v7(),
            tenant: tenant.clone(),
            key: frame_id.to_string(),
            traceparent: None,
            reply_to: None,
            retention: None,
            data,
        };
        let indexed = Indexed {
            result,
            alerts: vec![AlertEvent { tenant, traceparent: None, data: alert }],
            indexed_at: now,
            expires_at: now + Duration::from_secs(3_600),
            strangers_expire_at: None,
        };
        self.documents.put(&[indexed]).await.unwrap();
        SeenFrame { detection, image: key }
    }

    /// `identity` and `subject` of a detection.
    pub async fn identity(&self, seen: &SeenFrame) -> (Option<String>, Option<String>) {
        let found = self.documents.detection(&TenantScope::All, &seen.detection).await.unwrap().unwrap();
        let text = |name| found.detection.attributes.text(name).map(str::to_owned);
        (text("identity"), text("subject"))
    }

    /// Whether the image of a frame is kept, and whether its result says so.
    pub async fn has_image(&self, seen: &SeenFrame) -> (bool, bool) {
        let kept = self.blobs.get(&seen.image).await.unwrap().is_some();
        let results = self.documents.frame(&TenantScope::All, seen.detection.frame).await.unwrap();
        let says_so =
            results.iter().any(|stored| matches!(&stored.result.data.outcome, Outcome::Ok { image: Some(_), .. }));
        (kept, says_so)
    }

    /// The subjects of all alerts.
    pub async fn alerted(&self) -> Vec<Option<String>> {
        let page = PageRequest::Newest { after: None, limit: 100 };
        let alerts = self.documents.alerts(&TenantScope::All, &AlertFilter::default(), &page).await.unwrap();
        alerts.iter().map(|stored| stored.alert.data.attributes.text("subject").map(str::to_owned)).collect()
    }
}
