//! Messages of the results topic in; results out, or the cause for a dead letter.

use bus::Delivery;
use contracts::{Cause, Event, FrameId, ResultEvent, TenantId, vehicle};
use jiff::Timestamp;
use metrics::counter;

/// Prefix of the CloudEvents types of this product.
const OWN_TYPES: &str = "sightline.";

/// Decodes results of detectors and bare vehicle JSON of external producers.
#[derive(Debug, Clone)]
pub struct ResultDecoder {
    /// Id of the results topic: ids of external frames derive from it.
    pub topic_id: String,
    /// Tenant of external vehicles.
    pub foreign_tenant: TenantId,
}

impl ResultDecoder {
    /// The result in a delivery.
    ///
    /// # Errors
    /// The cause, where the message can never be decoded.
    pub fn decode(&self, delivery: &Delivery) -> Result<ResultEvent, Cause> {
        let message = &delivery.message;
        if message.headers.text("ce_type").is_some_and(|kind| kind.starts_with(OWN_TYPES)) {
            return ResultEvent::from_message(message).map_err(|error| cause("undecodable", &error));
        }
        let position = delivery.position;
        let frame_id = FrameId::from_position(&self.topic_id, position.partition, position.offset);
        let arrived = Timestamp::try_from(delivery.timestamp).unwrap_or_else(|_| Timestamp::now());
        let external = vehicle::from_external(&message.value, frame_id, self.foreign_tenant.clone(), arrived)
            .map_err(|error| cause("unknown", &error))?;
        if external.impossible_time {
            counter!("sightline_indexer_impossible_times_total").increment(1);
        }
        Ok(external.result)
    }
}

/// A cause with a stable code.
pub fn cause(code: &str, message: &impl std::fmt::Display) -> Cause {
    Cause { code: code.to_owned(), message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bus::Position;
    use contracts::{Headers, Message};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    const TOPIC_ID: &str = "of a topic";
    /// When the log got the message: 2023-11-14T22:13:20Z.
    const ARRIVED: Duration = Duration::from_secs(1_700_000_000);

    fn delivery(value: &str, offset: i64) -> Delivery {
        let message = Message { key: None, headers: Headers::new(), value: value.to_owned().into() };
        Delivery { position: Position { partition: 3, offset }, timestamp: SystemTime::UNIX_EPOCH + ARRIVED, message }
    }

    fn decode(value: &str, offset: i64) -> ResultEvent {
        let foreign_tenant = "fleet".parse().unwrap();
        let decoder = ResultDecoder { topic_id: TOPIC_ID.to_owned(), foreign_tenant };
        decoder.decode(&delivery(value, offset)).unwrap()
    }

    #[test]
    fn an_external_frame_id_derives_from_its_offset() {
        let (first, repeat, next) =
            (decode(r#"{"make":"Kia"}"#, 7), decode(r#"{"make":"Kia"}"#, 7), decode(r#"{"make":"Kia"}"#, 8));
        assert_eq!(first.data.frame_id, FrameId::from_position(TOPIC_ID, 3, 7));
        assert_eq!(repeat.id, first.id);
        assert_ne!(next.data.frame_id, first.data.frame_id);
    }

    #[test]
    fn a_foreign_vehicle_has_the_settings_tenant_and_its_arrival() {
        let result = decode(r#"{"make":"Kia"}"#, 7);
        assert_eq!(result.tenant.as_str(), "fleet");
        assert_eq!(result.data.captured_at.to_string(), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn impossible_times_are_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for created_at in ["1969-12-31T23:59:59Z", "2023-11-14T22:00:00Z", "2024-01-01T00:00:00Z", "soon"] {
                decode(&format!(r#"{{"make":"Kia","created_at":"{created_at}"}}"#), 7);
            }
        });
        let metrics = recorder.handle().render();
        assert!(metrics.contains("sightline_indexer_impossible_times_total 3"), "{metrics}");
    }
}
