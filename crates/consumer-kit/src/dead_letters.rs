//! Sends messages that can never be processed to the dead-letter topic.

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
    /// The dead-letter topic of `consumed`; `None` if it has none (see [`TopicRole::dead_letters`]).
    pub fn of(bus: &dyn Bus, consumed: TopicRole, sender: Sender) -> Option<Self> {
        let role = consumed.dead_letters()?;
        Some(Self { sender, role, origin: bus.topic(consumed).to_owned() })
    }

    /// The dead letter of the message at `position` of the consumed topic.
    pub fn letter(&self, position: Position, original: Message, cause: Cause) -> DeadLetter {
        let Position { partition, offset } = position;
        let origin = Origin { topic: self.origin.clone(), partition, offset };
        DeadLetter { cause, origin, at: Timestamp::now(), original }
    }

    /// Logs a dead letter and puts it into the producer's queue. Pass it to [`await_acks`](Self::await_acks).
    pub fn begin(&self, letter: &DeadLetter) -> PendingSend {
        let DeadLetter { cause, origin, original, .. } = letter;
        // A frame has its own id; events about a frame have its id as their subject.
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

    /// Waits for the acknowledgements of these dead letters. One that does not fit its topic is
    /// logged and dropped, so that it does not block its partition for ever. Returns the number of
    /// dropped ones.
    ///
    /// # Errors
    /// When the log refuses for good, or the service stops while the log is unreachable.
    pub async fn await_acks(&self, letters: Vec<PendingSend>) -> Result<usize, Interrupted> {
        let dropped = self.sender.await_acks(letters).await?;
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

    /// Sends one dead letter and waits for its acknowledgement.
    ///
    /// # Errors
    /// As [`await_acks`](Self::await_acks).
    pub async fn send(&self, letter: &DeadLetter) -> Result<(), Interrupted> {
        self.await_acks(vec![self.begin(letter)]).await.map(drop)
    }
}
