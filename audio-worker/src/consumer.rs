//! Messages of the topic of tasks in; tasks out, or the cause for a dead letter.

use bus::Delivery;
use contracts::{Cause, Event, MediaTask, MediaTaskEvent};

/// The task in a delivery, with its trace context.
///
/// # Errors
/// The cause, where the message can never be a task.
pub fn task_of(delivery: &Delivery) -> Result<(MediaTask, Option<String>), Cause> {
    match MediaTaskEvent::from_message(&delivery.message) {
        Ok(MediaTaskEvent { task, traceparent, .. }) => Ok((task, traceparent)),
        Err(error) => Err(Cause { code: "invalid_event".to_owned(), message: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bus::Position;
    use contracts::{BookId, MediaStep, Message};
    use jiff::Timestamp;

    use super::*;

    fn delivery(message: Message) -> Delivery {
        Delivery { position: Position { partition: 0, offset: 0 }, timestamp: SystemTime::UNIX_EPOCH, message }
    }

    #[test]
    fn a_message_is_a_task_or_has_a_cause() {
        let task = MediaTask { book: BookId::now(), generation: 2, step: MediaStep::Transcribe, window: Some(3) };
        let event = MediaTaskEvent { task, published_at: Timestamp::UNIX_EPOCH, traceparent: None };
        let message = event.to_message();
        assert_eq!(task_of(&delivery(message.clone())), Ok((task, None)));
        let damaged = Message { value: "{}".into(), ..message };
        assert_eq!(task_of(&delivery(damaged)).map_err(|cause| cause.code), Err("invalid_event".to_owned()));
    }
}
