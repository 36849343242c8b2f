//! Where a client's stream starts: after its cursor where the log still has that, else with a `reset`.

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
    /// Everything up to this offset was offered before, or is gone.
    pub offered: i64,
    /// The first block.
    pub block: Bytes,
    /// The next alert is no longer in the window.
    pub is_old: bool,
}

/// Decides where a client's stream starts.
///
/// A cursor cannot be continued where it belongs to another incarnation, lies beyond the end of the log, or lies before what
/// retention has kept. The client then gets a `reset` and the oldest alerts that are kept: it may see alerts again, which it
/// recognises by their ids, and misses none that is there.
pub async fn stream_start(
    window: &AlertWindow,
    bus: &dyn Bus,
    cursor: Option<AlertCursor>,
) -> Result<StreamStart, BusError> {
    let Some(cursor) = cursor else { return Ok(continued(window, window.head())) };
    if cursor.incarnation != *window.incarnation() {
        let (earliest, _) = alerts_range(bus).await?;
        let reason = "this id is of a log that is no more; what comes now is the oldest of the present one";
        return Ok(reset(window, earliest, "other_log", reason));
    }
    // The usual case needs no request to the log.
    if (window.covered_from() - 1..=window.head()).contains(&cursor.offset) {
        return Ok(continued(window, cursor.offset));
    }
    let (earliest, end) = alerts_range(bus).await?;
    if cursor.offset + 1 < earliest {
        let reason = "alerts after this id are no longer kept; what comes now is the oldest that is";
        return Ok(reset(window, earliest, "too_old", reason));
    }
    if cursor.offset >= end {
        let reason = "the log ends before this id; what comes now is the oldest that is kept";
        return Ok(reset(window, earliest, "ahead", reason));
    }
    // Before the window, or from a replica that has read a little further than this one.
    Ok(continued(window, cursor.offset))
}

fn continued(window: &AlertWindow, offered: i64) -> StreamStart {
    let is_old = offered + 1 < window.covered_from();
    StreamStart { offered, block: sse::opening(&window.cursor(offered)), is_old }
}

fn reset(window: &AlertWindow, earliest: i64, code: &str, reason: &str) -> StreamStart {
    window.meters.resets.increment(1);
    let start = continued(window, earliest - 1);
    StreamStart { block: sse::reset(&window.cursor(earliest - 1), code, reason), ..start }
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
    /// Everything up to this offset was offered; with a block where the record there passes the filter.
    UpTo(i64, Option<Bytes>),
    /// Retention dropped everything before this offset while it was read.
    Lost(i64),
}

impl Replay {
    /// Reads the records after `offered`, and those of the dedup window before it.
    pub async fn open(
        window: &AlertWindow,
        bus: &dyn Bus,
        offered: i64,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, BusError> {
        let (earliest, _) = alerts_range(bus).await?;
        let start = earliest.max(offered + 1 - DEDUP_WINDOW);
        let reader = bus.reader(TopicRole::Alerts, Start::Offset(start)).await?;
        let replays = window.meters.replays.clone();
        replays.increment(1);
        Ok(Self { reader, decoder: AlertDecoder::new(Arc::clone(window.incarnation())), replays, _permit: permit })
    }

    /// The next record after `offered`. Cancel-safe.
    pub async fn next(&mut self, offered: i64, filter: &AlertFilter) -> Result<Replayed, BusError> {
        loop {
            // The log may deliver a million records without a pause: let other tasks run.
            tokio::task::consume_budget().await;
            let delivery = match self.reader.next().await? {
                ReaderItem::Gap { to, .. } if to > offered + 1 => return Ok(Replayed::Lost(to)),
                ReaderItem::Gap { .. } => continue,
                ReaderItem::Delivery(delivery) => delivery,
            };
            let record = self.decoder.decode(&delivery);
            let offset = delivery.position.offset;
            if offset <= offered {
                continue;
            }
            let block = match &record {
                DecodedRecord::New(entry) => filter.block(entry).cloned(),
                DecodedRecord::Repeat | DecodedRecord::Unreadable => None,
            };
            return Ok(Replayed::UpTo(offset, block));
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.replays.decrement(1);
    }
}
