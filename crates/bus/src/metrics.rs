//! The metrics of both buses: `sightline_bus_*` with the topic's role as label.

use contracts::{Message, TopicRole};
use metrics::{Counter, Gauge, counter, gauge};

/// The metrics of one topic.
pub struct TopicMetrics {
    produced_messages: Counter,
    produced_bytes: Counter,
    consumed_messages: Counter,
    consumed_bytes: Counter,
    queue_messages: Gauge,
    queue_bytes: Gauge,
}

impl TopicMetrics {
    /// The metrics of this role's topic.
    pub fn of(role: TopicRole) -> Self {
        let topic = role.as_str();
        Self {
            produced_messages: counter!("sightline_bus_produced_messages_total", "topic" => topic),
            produced_bytes: counter!("sightline_bus_produced_bytes_total", "topic" => topic),
            consumed_messages: counter!("sightline_bus_consumed_messages_total", "topic" => topic),
            consumed_bytes: counter!("sightline_bus_consumed_bytes_total", "topic" => topic),
            queue_messages: gauge!("sightline_bus_queue_messages", "topic" => topic),
            queue_bytes: gauge!("sightline_bus_queue_bytes", "topic" => topic),
        }
    }

    /// Counts messages that the log acknowledged, and their bytes.
    pub fn produced(&self, messages: usize, bytes: usize) {
        self.produced_messages.increment(messages as u64);
        self.produced_bytes.increment(bytes as u64);
    }

    /// Counts a message that was delivered to a consumer or reader.
    pub fn consumed(&self, message: &Message) {
        self.consumed_messages.increment(1);
        self.consumed_bytes.increment(message.weight() as u64);
    }

    /// Sets the number of unacknowledged messages and bytes.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and a queue is far below 2^52 bytes")]
    pub fn queued(&self, messages: usize, bytes: usize) {
        self.queue_messages.set(messages as f64);
        self.queue_bytes.set(bytes as f64);
    }
}
