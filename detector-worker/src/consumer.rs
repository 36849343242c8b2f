//! Parses messages of the frames topic into tasks: a frame with its detectors, or the reason why the message is not a frame.

use bus::{Delivery, Position};
use contracts::{DetectorName, Event, FrameEvent, Message};

use crate::metrics::InFlight;

/// One message that the worker processes.
pub struct FrameTask {
    /// Partition and offset of the message.
    pub position: Position,
    /// The message as received, for a dead letter.
    pub message: Message,
    /// The parsed message.
    pub content: Content,
    _in_flight: InFlight,
}

/// A parsed message.
pub enum Content {
    /// A frame for at least one detector of this worker.
    Frame {
        /// The event.
        frame: Box<FrameEvent>,
        /// Indices of its detectors in the worker's list.
        detectors: Vec<usize>,
    },
    /// Not a frame, with the reason.
    Invalid(String),
}

/// Parses deliveries for a set of detectors.
pub struct FrameParser {
    detectors: Vec<DetectorName>,
}

impl FrameParser {
    /// A parser for these detectors. Their order defines the indices in [`Content::Frame`].
    pub fn new(detectors: Vec<DetectorName>) -> Self {
        Self { detectors }
    }

    /// The task of a message; `None` when its frame is for other detectors only.
    pub fn parse(&self, delivery: Delivery) -> Option<FrameTask> {
        let Delivery { position, message, .. } = delivery;
        let content = match FrameEvent::from_message(&message) {
            Ok(frame) => {
                let detectors = self.requested(&frame.detectors);
                if detectors.is_empty() {
                    return None;
                }
                Content::Frame { frame: Box::new(frame), detectors }
            }
            Err(error) => Content::Invalid(error.to_string()),
        };
        Some(FrameTask { position, message, content, _in_flight: InFlight::new() })
    }

    /// Indices of the detectors that a frame names; all of them when it names none.
    fn requested(&self, names: &[DetectorName]) -> Vec<usize> {
        let detectors = self.detectors.iter().enumerate();
        detectors.filter(|(_, name)| names.is_empty() || names.contains(name)).map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use contracts::{FrameContent, FrameId, TenantId};

    use super::*;

    fn frame(detectors: &[&str]) -> Message {
        let frame = FrameEvent {
            id: FrameId::now(),
            tenant: TenantId::shared(),
            stream: None,
            captured_at: jiff::Timestamp::UNIX_EPOCH,
            detectors: detectors.iter().map(|name| name.parse().unwrap()).collect(),
            retention: None,
            content_type: "image/png".to_owned(),
            content: FrameContent::Inline("x".into()),
            reply_to: None,
            traceparent: None,
        };
        frame.to_message()
    }

    fn parse(message: Message) -> Option<Content> {
        let parser = FrameParser::new(["face", "vehicle"].map(|name| name.parse().unwrap()).into());
        let position = Position { partition: 0, offset: 0 };
        parser.parse(Delivery { position, timestamp: SystemTime::UNIX_EPOCH, message }).map(|task| task.content)
    }

    #[test]
    fn a_frame_is_for_the_detectors_it_names_or_for_all() {
        for (named, requested) in [(&[][..], vec![0, 1]), (&["vehicle"], vec![1]), (&["voice", "face"], vec![0])] {
            let content = parse(frame(named));
            assert!(matches!(content, Some(Content::Frame { detectors, .. }) if detectors == requested), "{named:?}");
        }
        assert!(parse(frame(&["voice"])).is_none());
    }

    #[test]
    fn an_invalid_message_has_a_reason() {
        let mut message = frame(&[]);
        message.headers = message.headers.with("ce_id", "7");
        assert!(matches!(parse(message), Some(Content::Invalid(reason)) if reason.contains("ce_id")));
    }
}
