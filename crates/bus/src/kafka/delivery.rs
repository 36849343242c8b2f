//! Converts a record of Kafka into a [`Delivery`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contracts::Message;
use rdkafka::message::{BorrowedMessage, Message as _};

use super::native;
use crate::seam::{Delivery, Position};

/// Copies a record out of librdkafka's buffers. A null value becomes an empty one.
pub fn delivery(record: &BorrowedMessage<'_>) -> Delivery {
    Delivery {
        position: Position { partition: record.partition(), offset: record.offset() },
        timestamp: timestamp(record),
        message: Message {
            key: record.key().map(Bytes::copy_from_slice),
            headers: native::headers(record),
            value: record.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
        },
    }
}

/// When the log accepted a record.
pub fn timestamp(record: &BorrowedMessage<'_>) -> SystemTime {
    let millis = record.timestamp().to_millis().and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_millis(millis)
}
