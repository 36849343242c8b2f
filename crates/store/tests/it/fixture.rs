//! Results, detections and alerts to store.

use std::time::Duration;

use contracts::alert::AlertData;
use contracts::result::{FailureCode, ResultData};
use contracts::{
    AlertEvent, AlertId, AttributeValue, Attributes, BoundingBox, Detection, FrameId, Outcome, Point, ResultEvent,
    Rule, RuleId, TenantId, Vehicle,
};
use jiff::Timestamp;
use store::{Indexed, TenantScope};
use uuid::Uuid;

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub fn scope(name: &str) -> TenantScope {
    TenantScope::Tenant(tenant(name))
}

pub fn face(confidence: f64) -> Detection {
    Detection {
        label: "face".to_owned(),
        confidence,
        bounds: Some(BoundingBox { x: 1.5, y: 2.25, width: 30.0, height: 40.125 }),
        landmarks: vec![Point { x: 10.5, y: 11.0 }, Point { x: 20.0, y: 11.75 }],
        attributes: Attributes::default(),
    }
}

pub fn car(category: &str, make: &str, model: &str) -> Detection {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Detection {
        label: "car".to_owned(),
        confidence: 0.75,
        bounds: None,
        landmarks: Vec::new(),
        attributes: Vehicle { category: text(category), make: text(make), model: text(model), year: Some(2020) }.into(),
    }
}

/// A detection with an attribute.
pub fn with_attribute(mut detection: Detection, name: &str, value: impl Into<AttributeValue>) -> Detection {
    detection.attributes.set(name.parse().unwrap(), value);
    detection
}

/// An enabled rule of a tenant with a new id.
pub fn rule(owner: &str, name: &str) -> Rule {
    Rule {
        id: RuleId::now(),
        tenant: Some(tenant(owner)),
        name: name.to_owned(),
        condition: "true".to_owned(),
        enabled: true,
    }
}

/// A result of a new frame of the tenant `shared`, which expires in an hour.
pub fn result(captured_at: &str, detections: Vec<Detection>) -> Indexed {
    let frame_id = FrameId::now();
    Indexed {
        result: ResultEvent {
            id: Uuid::now_v7(),
            tenant: TenantId::shared(),
            key: frame_id.to_string(),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            reply_to: None,
            retention: None,
            data: ResultData {
                frame_id,
                stream: None,
                detector: "face".parse().unwrap(),
                model: "yunet".to_owned(),
                captured_at: time(captured_at),
                processed_at: time("2026-01-02T03:04:06.5Z"),
                outcome: Outcome::Ok { width: 640, height: 480, detections, image: None },
            },
        },
        alerts: Vec::new(),
        indexed_at: time("2026-01-02T03:04:07.000001Z"),
        expires_at: Timestamp::now() + Duration::from_secs(3600),
        strangers_expire_at: None,
    }
}

/// Changes to a result: `result(…).with_tenant("a").with_stream("gate-1")`.
pub trait IndexedBuilder: Sized {
    fn with_tenant(self, owner: &str) -> Self;
    fn with_stream(self, stream: &str) -> Self;
    fn with_detector(self, detector: &str) -> Self;
    fn reprocessed(&self) -> Self;
    fn with_failure(self, code: FailureCode, message: &str) -> Self;
    fn expired(self) -> Self;
    fn with_alert(self, rule: &str) -> Self;
    fn frame_id(&self) -> FrameId;
    fn detections(&self) -> &[Detection];
}

impl IndexedBuilder for Indexed {
    fn with_tenant(mut self, owner: &str) -> Self {
        self.result.tenant = tenant(owner);
        self
    }

    fn with_stream(mut self, stream: &str) -> Self {
        self.result.data.stream = Some(stream.parse().unwrap());
        self
    }

    fn with_detector(mut self, detector: &str) -> Self {
        self.result.data.detector = detector.parse().unwrap();
        self
    }

    /// Another result about the same frame, as from a worker that processed it twice.
    fn reprocessed(&self) -> Self {
        let mut other = self.clone();
        other.result.id = Uuid::now_v7();
        other
    }

    fn with_failure(mut self, code: FailureCode, message: &str) -> Self {
        self.result.data.outcome = Outcome::Failed { code, message: message.to_owned() };
        self
    }

    fn expired(mut self) -> Self {
        self.expires_at = Timestamp::now() - Duration::from_secs(1);
        self
    }

    /// Adds an alert about the first detection, raised at the capture time.
    fn with_alert(mut self, rule: &str) -> Self {
        let ResultEvent { tenant, traceparent, data, .. } = &self.result;
        let (frame_id, rule_id) = (data.frame_id, RuleId::built_in(rule));
        let first = self.detections()[0].clone();
        let data = AlertData {
            id: AlertId::of(&rule_id, &frame_id),
            rule: rule.to_owned(),
            rule_id,
            frame_id,
            stream: data.stream.clone(),
            detector: data.detector.clone(),
            detection_id: format!("{frame_id}-{}-0", data.detector),
            label: first.label,
            confidence: first.confidence,
            bounds: first.bounds,
            attributes: first.attributes,
            matches: 1,
            captured_at: data.captured_at,
            raised_at: data.captured_at,
        };
        let alert = AlertEvent { tenant: tenant.clone(), traceparent: traceparent.clone(), data };
        self.alerts.push(alert);
        self
    }

    fn frame_id(&self) -> FrameId {
        self.result.data.frame_id
    }

    fn detections(&self) -> &[Detection] {
        match &self.result.data.outcome {
            Outcome::Ok { detections, .. } => detections,
            Outcome::Failed { .. } => &[],
        }
    }
}
