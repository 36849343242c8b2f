//! What a message on `results` is: a result of ours, a foreign producer's vehicle, or neither.

use bus::Delivery;
use contracts::{Cause, Event, FrameId, ResultEvent, TenantId, vehicle};
use jiff::Timestamp;

/// CloudEvents types of ours begin with this.
const OURS: &str = "sightline.";

/// What reading a foreign message takes beside the message.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Incarnation of the results topic: ids of foreign frames derive from it.
    pub incarnation: String,
    /// Whose foreign vehicles are.
    pub foreign_tenant: TenantId,
}

impl Reading {
    /// The result in a delivery.
    ///
    /// # Errors
    /// The cause to bury it with: it never will be a result.
    pub fn result(&self, delivery: &Delivery) -> Result<ResultEvent, Cause> {
        let message = &delivery.message;
        if message.headers.text("ce_type").is_some_and(|kind| kind.starts_with(OURS)) {
            return ResultEvent::from_message(message).map_err(|error| cause("undecodable", &error));
        }
        let position = delivery.position;
        let frame_id = FrameId::from_position(&self.incarnation, position.partition, position.offset);
        let arrived = Timestamp::try_from(delivery.timestamp).unwrap_or_else(|_| Timestamp::now());
        vehicle::from_foreign(&message.value, frame_id, self.foreign_tenant.clone(), arrived)
            .map_err(|error| cause("unknown", &error))
    }
}

/// A cause with a stable code.
pub fn cause(code: &str, message: &impl std::fmt::Display) -> Cause {
    Cause { code: code.to_owned(), message: message.to_string() }
}
