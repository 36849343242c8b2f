//! Messages that can never be processed, on their way to the dead-letter topic.

use bus::{Bus, Position};
use contracts::{Cause, DeadLetter, Message, Origin, TopicRole};
use jiff::Timestamp;

use crate::retry::Interrupted;
use crate::sender::{PendingSend, Sender};

/// The dead-letter topic of one consumed topic.
#[derive(Clone)]
pub struct DeadLetterQueue {
    sender: Sender,
    role: TopicRole,
    origin: String,
}

impl DeadLetterQueue {
    /// The dead-letter topic of `consumed`; `None` where it has none (see [`TopicRole::dead_letters`]).
    pub fn of(bus: &dyn Bus, consumed: TopicRole, sender: Sender) -> Option<Self> {
        let role = consumed.dead_letters()?;
        Some(Self { sender, role, origin: bus.topic(consumed).to_owned() })
    }

    /// The dead letter of a message that stands at `position` of the consumed topic.
    pub fn letter(&self, position: Position, original: Message, cause: Cause) -> DeadLetter {
        let Position { partition, offset } = position;
        let origin = Origin { topic: self.origin.clone(), partition, offset };
        DeadLetter { cause, origin, at: Timestamp::now(), original }
    }

    /// Logs a dead letter and puts it into the producer's queue. Pass it to [`settle`](Self::settle).
    pub fn begin(&self, letter: &DeadLetter) -> PendingSend {
        let DeadLetter { cause, origin, original, .. } = letter;
        // A frame carries its id itself; what follows from a frame names it as its subject.
        let headers = &original.headers;
        tracing::warn!(
            topic = origin.topic,
            partition = origin.partition,
            offset = origin.offset,
            frame.id = headers.text("ce_subject").or_else(|| headers.text("ce_id")),
            cause = cause.code,
            error = cause.message,
            "a message is dead-lettered"
        );
        self.sender.begin(self.role, letter.to_message())
    }

    /// Waits until the log has these dead letters. One that does not fit its topic is logged and dropped: a message that
    /// never fits must not block its partition for ever. Returns how many were dropped.
    ///
    /// # Errors
    /// When the log refuses for good, or the service stops while the log is out of reach.
    pub async fn settle(&self, letters: Vec<PendingSend>) -> Result<usize, Interrupted> {
        let dropped = self.sender.settle(letters).await?;
        for letter in &dropped {
            let (id, error) = (letter.message.headers.text("ce_id"), &letter.error);
            tracing::error!(
                event.id = id,
                %error,
                "a dead letter does not fit its topic and is dropped; raise the topic's max_message_bytes"
            );
        }
        Ok(dropped.len())
    }

    /// Dead-letters one message and waits until the log has it.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub async fn bury(&self, letter: &DeadLetter) -> Result<(), Interrupted> {
        self.settle(vec![self.begin(letter)]).await.map(drop)
    }
}
