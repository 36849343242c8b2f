//! Messages of the results topic in; results out, or the cause to dead-letter them with.

use bus::Delivery;
use contracts::{Cause, Event, FrameId, ResultEvent, TenantId, vehicle};
use jiff::Timestamp;
use metrics::counter;

/// Prefix of the CloudEvents types of this product.
const OWN_TYPES: &str = "sightline.";

/// Decodes results of detectors and bare vehicle JSON of foreign producers.
#[derive(Debug, Clone)]
pub struct ResultDecoder {
    /// Incarnation of the results topic: ids of foreign frames derive from it.
    pub topic_id: String,
    /// Tenant of foreign vehicles.
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
        let foreign = vehicle::from_foreign(&message.value, frame_id, self.foreign_tenant.clone(), arrived)
            .map_err(|error| cause("unknown", &error))?;
        if foreign.impossible_time {
            counter!("sightline_indexer_impossible_times_total").increment(1);
        }
        Ok(foreign.result)
    }
}

/// A cause with a stable code.
pub fn cause(code: &str, message: &impl std::fmt::Display) -> Cause {
    Cause { code: code.to_owned(), message: message.to_string() }
}
