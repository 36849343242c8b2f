//! Fakes behind the HTTP service under test: documents with a few items, a caller with every scope, a log without readers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use accounts::{AccessError, Accounts, Caller, Scope};
use async_trait::async_trait;
use bus::{Acknowledged, Bus, BusError, Consumer, ConsumerOptions, Position, Producer, Range, Reader, Start};
use contracts::alert::AlertData;
use contracts::result::ResultData;
use contracts::{AlertEvent, AlertId, Detection, FrameId, Message, Outcome, ResultEvent, RuleId, TenantId, TopicRole};
use futures::FutureExt;
use jiff::Timestamp;
use store::Indexed;

/// Four frames with a face and a car each, and an alert about each.
pub fn indexed_frames() -> anyhow::Result<Vec<Indexed>> {
    (0..4).map(indexed).collect()
}

fn indexed(number: i64) -> anyhow::Result<Indexed> {
    let frame_id = FrameId::from_position("fuzzing", 0, number);
    let at = Timestamp::from_second(1_767_225_600 + number)?;
    let detections: Vec<Detection> = serde_json::from_value(serde_json::json!([
        {"label": "face", "confidence": 0.5, "box": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}},
        {"label": "car", "confidence": 0.9, "category": "SUV", "make": "Audi", "model": "Q3", "year": 2020,
            "attributes": {"colour": "red", "doors": 4, "parked": true}},
    ]))?;
    let (tenant, rule_id) = (TenantId::admin(), RuleId::built_in("face-seen"));
    let alert = AlertData {
        id: AlertId::of(&rule_id, &frame_id),
        rule: "face-seen".to_owned(),
        rule_id,
        frame_id,
        stream: Some("gate-1".parse()?),
        detector: "face".parse()?,
        detection_id: format!("{frame_id}-face-0"),
        label: "face".to_owned(),
        confidence: 0.5,
        bounds: None,
        attributes: contracts::Attributes::default(),
        matches: 1,
        captured_at: at,
        raised_at: at,
    };
    let data = ResultData {
        frame_id,
        stream: Some("gate-1".parse()?),
        detector: "face".parse()?,
        model: "model".to_owned(),
        captured_at: at,
        processed_at: at,
        outcome: Outcome::Ok { width: 640, height: 480, detections, image: None },
    };
    let result = ResultEvent {
        id: frame_id.uuid(),
        tenant: tenant.clone(),
        key: frame_id.to_string(),
        traceparent: None,
        reply_to: None,
        retention: None,
        data,
    };
    let alerts = vec![AlertEvent { tenant, traceparent: None, data: alert }];
    Ok(Indexed {
        result,
        alerts,
        indexed_at: at,
        expires_at: "9999-01-01T00:00:00Z".parse()?,
        strangers_expire_at: None,
    })
}

/// Accounts that accept every token, without limits.
pub struct AcceptAll;

#[async_trait]
impl Accounts for AcceptAll {
    async fn authenticate(&self, _: &str) -> Result<Caller, AccessError> {
        let scopes = Scope::allowed_for(store::relational::Role::User).to_vec();
        Ok(Caller { reads_all_tenants: true, ..Caller::new(TenantId::admin(), scopes) })
    }

    async fn charge(&self, _: &Caller, _: FrameId) -> Result<(), AccessError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), AccessError> {
        Ok(())
    }
}

/// A log that accepts every message and has no reader.
#[derive(Default)]
pub struct WriteOnlyLog(Arc<Published>);

#[derive(Default)]
struct Published(Mutex<Vec<Message>>);

impl WriteOnlyLog {
    /// Removes and returns the messages published so far.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Producer for Published {
    fn send(&self, _: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        Ok(async { Ok(Position { partition: 0, offset: 0 }) }.boxed())
    }
}

#[async_trait]
impl Bus for WriteOnlyLog {
    fn describe(&self) -> String {
        "nowhere".to_owned()
    }

    fn topic(&self, role: TopicRole) -> &str {
        role.as_str()
    }

    fn producer(&self) -> Arc<dyn Producer> {
        self.0.clone()
    }

    async fn consumer(&self, _: TopicRole, _: &str, _: ConsumerOptions) -> Result<Box<dyn Consumer>, BusError> {
        Err(BusError::Closed)
    }

    async fn reader(&self, _: TopicRole, _: Start) -> Result<Box<dyn Reader>, BusError> {
        Err(BusError::Closed)
    }

    async fn reader_of(&self, _: TopicRole, _: &[Range]) -> Result<Box<dyn Reader>, BusError> {
        Err(BusError::Closed)
    }

    async fn ranges(&self, _: TopicRole) -> Result<Vec<Range>, BusError> {
        Ok(Vec::new())
    }

    async fn topic_id(&self, _: TopicRole) -> Result<String, BusError> {
        Ok("log".to_owned())
    }

    async fn unconsumed(&self, _: TopicRole, _: &str) -> Result<Vec<Range>, BusError> {
        Ok(Vec::new())
    }

    async fn oldest_unconsumed(&self, _: TopicRole, _: &str) -> Result<Option<SystemTime>, BusError> {
        Ok(None)
    }

    async fn check(&self) -> Result<(), BusError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), BusError> {
        Ok(())
    }
}
