//! Builders of images, events and users.

use accounts::{Caller, Registration, Scope, SecretText, UserAccess};
use contracts::alert::AlertData;
use contracts::result::ResultData;
use contracts::{AlertEvent, AlertId, Attributes, Detection, FrameId, Outcome, ResultEvent, RuleId, TenantId};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::relational::{UserLimit, UserRecord};

/// The password of every user that a test creates.
pub const PASSWORD: &str = "lamp ostrich kettle";

/// A registration under this name with [`PASSWORD`].
pub fn registration(name: &str) -> Registration {
    Registration {
        username: Some(name.to_owned()),
        email: Some(format!("{name}@example.org")),
        full_name: None,
        password: Some(SecretText::new(PASSWORD)),
        identity: None,
    }
}

/// This frame quota, and no rate limit.
pub fn quota_of(frames: u32) -> UserAccess {
    UserAccess { quota: UserLimit::AtMost(frames), rate_limit: UserLimit::Unlimited, ..UserAccess::default() }
}

/// A caller who is this user, with these scopes.
pub fn caller_of(user: &UserRecord, scopes: &[Scope]) -> Caller {
    Caller { user: Some(user.id), ..Caller::new(user.tenant.clone(), scopes.to_vec()) }
}

/// A PNG header, padded to `length` bytes.
pub fn png(width: u32, height: u32, length: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    bytes.extend([8, 2, 0, 0, 0]);
    bytes.resize(length.max(bytes.len()), 0x5a);
    bytes
}

/// A JPEG header, padded to `length` bytes.
pub fn jpeg(width: u16, height: u16, length: usize) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08".to_vec();
    bytes.extend([height.to_be_bytes(), width.to_be_bytes()].concat());
    bytes.resize(length.max(bytes.len()), 0x5a);
    bytes
}

/// A face with a box.
pub fn face(confidence: f64) -> Detection {
    serde_json::from_value(json!({
        "label": "face", "confidence": confidence, "box": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0},
    }))
    .unwrap()
}

/// A result of the detector `face` for a frame of the operator's tenant.
pub fn result_of(frame_id: FrameId, detections: Vec<Detection>) -> ResultEvent {
    ResultEvent {
        id: frame_id.uuid(),
        tenant: TenantId::admin(),
        key: frame_id.to_string(),
        traceparent: None,
        reply_to: None,
        retention: None,
        data: ResultData {
            frame_id,
            stream: None,
            detector: "face".parse().unwrap(),
            model: "yunet".to_owned(),
            captured_at: Timestamp::now(),
            processed_at: Timestamp::now(),
            outcome: Outcome::Ok { width: 640, height: 480, detections, image: None },
        },
    }
}

/// A result with two faces for the frame `number`, captured `number` seconds after the start of 2026, on the stream `even` or `odd`.
pub fn faces_result(number: i64) -> ResultEvent {
    let id = FrameId::from_position("test", 0, number);
    let mut result = result_of(id, vec![face(0.5), face(0.9)]);
    result.data.captured_at = Timestamp::from_second(1_767_225_600 + number).unwrap();
    result.data.stream = Some(if number % 2 == 0 { "even" } else { "odd" }.parse().unwrap());
    result
}

/// A result with one car for the frame `number`, captured now.
pub fn car_result(number: i64, make: &str, category: &str) -> ResultEvent {
    let mut result = faces_result(number);
    let vehicle = json!({"label": "car", "confidence": 0.7, "make": make, "category": category, "year": 2020});
    result.data.captured_at = Timestamp::now();
    result.data.outcome =
        Outcome::Ok { width: 0, height: 0, detections: vec![serde_json::from_value(vehicle).unwrap()], image: None };
    result
}

/// A result with a detection for each of these attributes, captured now, for the frame `number` of this tenant.
pub fn attributes_result(tenant: &TenantId, number: i64, attributes: &[Value]) -> ResultEvent {
    let detection = |attributes| json!({"label": "thing", "confidence": 0.7, "attributes": attributes});
    let detections = attributes.iter().map(|attributes| serde_json::from_value(detection(attributes)).unwrap());
    let result = result_of(FrameId::from_position("attributes", 0, number), detections.collect());
    ResultEvent { tenant: tenant.clone(), ..result }
}

/// An alert of the built-in rule `face-seen` about a frame of the operator's tenant.
pub fn alert_of(frame_id: FrameId, raised_at: Timestamp) -> AlertEvent {
    let rule_id = RuleId::built_in("face-seen");
    let data = AlertData {
        id: AlertId::of(&rule_id, &frame_id),
        rule: "face-seen".to_owned(),
        rule_id,
        frame_id,
        stream: None,
        detector: "face".parse().unwrap(),
        detection_id: format!("{frame_id}-face-0"),
        label: "face".to_owned(),
        confidence: 0.9,
        bounds: None,
        attributes: Attributes::default(),
        matches: 1,
        captured_at: raised_at,
        raised_at,
    };
    AlertEvent { tenant: TenantId::admin(), traceparent: None, data }
}
