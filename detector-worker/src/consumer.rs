//! Messages of the frames topic in; work out: frames with the detectors that are to look at them, or what is no frame.

use bus::{Delivery, Position};
use contracts::{DetectorName, Event, FrameEvent, Message};

use crate::meters::InHand;

/// Something to be done about one message.
pub struct Work {
    /// Where the message stands.
    pub position: Position,
    /// The message as it was, for its dead letter.
    pub message: Message,
    /// What is in it.
    pub content: Content,
    _in_hand: InHand,
}

/// What a message was.
pub enum Content {
    /// A frame, and the places of the detectors that shall look at it among ours.
    Frame(Box<FrameEvent>, Vec<usize>),
    /// No frame, with the reason in words.
    Invalid(String),
}

/// Reads deliveries for a set of detectors.
pub struct Intake {
    detectors: Vec<DetectorName>,
}

impl Intake {
    /// For these detectors, in this order.
    pub fn new(detectors: Vec<DetectorName>) -> Self {
        Self { detectors }
    }

    /// What is to be done about a message; nothing when its frame is for other detectors.
    pub fn read(&self, delivery: Delivery) -> Option<Work> {
        let Delivery { position, message, .. } = delivery;
        let content = match FrameEvent::from_message(&message) {
            Ok(frame) => {
                let wanted = self.wanted(&frame.detectors);
                if wanted.is_empty() {
                    return None;
                }
                Content::Frame(Box::new(frame), wanted)
            }
            Err(error) => Content::Invalid(error.to_string()),
        };
        Some(Work { position, message, content, _in_hand: InHand::new() })
    }

    fn wanted(&self, named: &[DetectorName]) -> Vec<usize> {
        let ours = self.detectors.iter().enumerate();
        ours.filter(|(_, ours)| named.is_empty() || named.contains(ours)).map(|(place, _)| place).collect()
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
            content_type: "image/png".to_owned(),
            content: FrameContent::Inline("x".into()),
            reply_to: None,
            traceparent: None,
        };
        frame.to_message()
    }

    fn read(message: Message) -> Option<Content> {
        let intake = Intake::new(["face", "vehicle"].map(|name| name.parse().unwrap()).into());
        let position = Position { partition: 0, offset: 0 };
        intake.read(Delivery { position, timestamp: SystemTime::UNIX_EPOCH, message }).map(|work| work.content)
    }

    #[test]
    fn a_frame_is_for_the_detectors_it_names_and_for_all_when_it_names_none() {
        for (named, wanted) in [(&[][..], vec![0, 1]), (&["vehicle"], vec![1]), (&["voice", "face"], vec![0])] {
            let content = read(frame(named));
            assert!(matches!(content, Some(Content::Frame(_, places)) if places == wanted), "{named:?}");
        }
        assert!(read(frame(&["voice"])).is_none());
    }

    #[test]
    fn what_is_no_frame_says_why() {
        let mut message = frame(&[]);
        message.headers = message.headers.with("ce_id", "7");
        assert!(matches!(read(message), Some(Content::Invalid(reason)) if reason.contains("ce_id")));
    }
}
