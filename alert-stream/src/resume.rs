//! Where a client's stream starts: after its cursor where the log still has the next alert, else with a `reset`.

use std::sync::Arc;

use bus::{Bus, BusError, Reader, ReaderItem, Start};
use bytes::Bytes;
use contracts::TopicRole;
use metrics::Gauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::consumer::alerts_range;
use crate::cursor::AlertCursor;
use crate::dedup::DEDUP_WINDOW;
use crate::entry::{AlertDecoder, AlertFilter, DecodedRecord};
use crate::sse;
use crate::window::AlertWindow;

/// Where a stream starts.
pub struct StreamStart {
    /// Alerts up to this offset were sent before, did not pass the filter, or are no longer kept.
    pub handled_up_to: i64,
    /// The first event to send.
    pub event: Bytes,
    /// The next alert is no longer in the window.
    pub is_old: bool,
}

/// Decides where a client's stream starts.
///
/// A stream cannot resume at a cursor that belongs to another topic id, lies beyond the end of the log, or lies before the
/// oldest record that retention kept. The client then gets a `reset` and all alerts from the oldest kept one on. It
/// recognises repeated alerts by their ids.
pub async fn stream_start(
    window: &AlertWindow,
    bus: &dyn Bus,
    cursor: Option<AlertCursor>,
) -> Result<StreamStart, BusError> {
    let Some(cursor) = cursor else { return Ok(continued(window, window.read_up_to())) };
    if cursor.topic_id != *window.topic_id() {
        let (earliest, _) = alerts_range(bus).await?;
        let reason =
            "the alerts topic of this id was deleted; the stream starts with the oldest alert of the new topic";
        return Ok(reset(window, earliest, "other_log", reason));
    }
    // In the usual case no request to the log is necessary.
    if (window.covered_from() - 1..=window.read_up_to()).contains(&cursor.offset) {
        return Ok(continued(window, cursor.offset));
    }
    let (earliest, end) = alerts_range(bus).await?;
    if cursor.offset + 1 < earliest {
        let reason = "alerts after this id are no longer kept; the stream starts with the oldest kept alert";
        return Ok(reset(window, earliest, "too_old", reason));
    }
    if cursor.offset >= end {
        let reason = "this id is after the end of the log; the stream starts with the oldest kept alert";
        return Ok(reset(window, earliest, "ahead", reason));
    }
    // Before the window, or from a replica that has read a little further than this one.
    Ok(continued(window, cursor.offset))
}

fn continued(window: &AlertWindow, handled_up_to: i64) -> StreamStart {
    let is_old = handled_up_to + 1 < window.covered_from();
    StreamStart { handled_up_to, event: sse::opening(&window.cursor(handled_up_to)), is_old }
}

fn reset(window: &AlertWindow, earliest: i64, code: &str, reason: &str) -> StreamStart {
    window.metrics.resets.increment(1);
    let start = continued(window, earliest - 1);
    StreamStart { event: sse::reset(&window.cursor(earliest - 1), code, reason), ..start }
}

/// Alerts from the log, for one client that starts before the window.
pub struct Replay {
    reader: Box<dyn Reader>,
    decoder: AlertDecoder,
    replays: Gauge,
    _permit: OwnedSemaphorePermit,
}

/// The next step of a replay.
pub enum Replayed {
    /// The records up to this offset were read; with the event of the record at this offset, if it passes the filter.
    UpTo(i64, Option<Bytes>),
    /// Retention dropped every record before this offset during the replay.
    Lost(i64),
}

impl Replay {
    /// Reads the records after `handled_up_to`, and those of the dedup window before it.
    pub async fn open(
        window: &AlertWindow,
        bus: &dyn Bus,
        handled_up_to: i64,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, BusError> {
        let (earliest, _) = alerts_range(bus).await?;
        let start = earliest.max(handled_up_to + 1 - DEDUP_WINDOW);
        let reader = bus.reader(TopicRole::Alerts, Start::Offset(start)).await?;
        let replays = window.metrics.replays.clone();
        replays.increment(1);
        Ok(Self { reader, decoder: AlertDecoder::new(Arc::clone(window.topic_id())), replays, _permit: permit })
    }

    /// The next record after `handled_up_to`. Cancel-safe.
    pub async fn next(&mut self, handled_up_to: i64, filter: &AlertFilter) -> Result<Replayed, BusError> {
        loop {
            // The log may deliver a million records without a pause: let other tasks run.
            tokio::task::consume_budget().await;
            let delivery = match self.reader.next().await? {
                ReaderItem::Gap { to, .. } if to > handled_up_to + 1 => return Ok(Replayed::Lost(to)),
                ReaderItem::Gap { .. } => continue,
                ReaderItem::Delivery(delivery) => delivery,
            };
            let record = self.decoder.decode(&delivery);
            let offset = delivery.position.offset;
            if offset <= handled_up_to {
                continue;
            }
            let event = match &record {
                DecodedRecord::New(entry) => filter.event(entry).cloned(),
                DecodedRecord::Duplicate | DecodedRecord::Unreadable => None,
            };
            return Ok(Replayed::UpTo(offset, event));
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.replays.decrement(1);
    }
}
