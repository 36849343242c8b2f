//! Where a client's stream begins: at its cursor, if that can be, else with a `reset`.

use std::sync::Arc;

use bus::{Bus, BusError, Reader, ReaderItem, Start};
use bytes::Bytes;
use contracts::TopicRole;
use metrics::Gauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::cursor::Cursor;
use crate::entry::{Filter, Judge, Judged};
use crate::feed::Feed;
use crate::repeats::REACH;
use crate::sse;
use crate::tail::extent;

/// Where a stream begins.
pub struct Beginning {
    /// Everything up to this offset was offered, or is not to be had.
    pub offered: i64,
    /// The first block.
    pub block: Bytes,
    /// Whether the client's place is before the window.
    pub is_old: bool,
}

/// Decides where a client's stream begins.
///
/// A cursor that the log cannot continue (of another incarnation, ahead of the log's end, or of alerts that retention
/// dropped) gets `reset` and then the oldest that is kept: the client may see again what it knows, which ids tell it, but
/// is not kept from anything that is there.
pub async fn begin(feed: &Feed, bus: &dyn Bus, cursor: Option<Cursor>) -> Result<Beginning, BusError> {
    let Some(cursor) = cursor else { return Ok(going_on(feed, feed.head())) };
    if cursor.incarnation != *feed.incarnation() {
        let (earliest, _) = extent(bus).await?;
        return Ok(reset(
            feed,
            earliest,
            "other_log",
            "this id is of a log that is no more; what comes now is the oldest of the present one",
        ));
    }
    // The usual way back needs no question to the log.
    if (feed.covered_from() - 1..=feed.head()).contains(&cursor.offset) {
        return Ok(going_on(feed, cursor.offset));
    }
    let (earliest, end) = extent(bus).await?;
    if cursor.offset + 1 < earliest {
        return Ok(reset(
            feed,
            earliest,
            "too_old",
            "alerts after this id are no longer kept; what comes now is the oldest that is",
        ));
    }
    if cursor.offset >= end {
        return Ok(reset(
            feed,
            earliest,
            "ahead",
            "the log ends before this id; what comes now is the oldest that is kept",
        ));
    }
    // Before the window, or handed out by a replica that is a little ahead of this one.
    Ok(going_on(feed, cursor.offset))
}

fn going_on(feed: &Feed, offered: i64) -> Beginning {
    let is_old = offered + 1 < feed.covered_from();
    Beginning { offered, block: sse::opening(&feed.cursor(offered)), is_old }
}

fn reset(feed: &Feed, earliest: i64, code: &str, reason: &str) -> Beginning {
    feed.meters.resets.increment(1);
    let beginning = going_on(feed, earliest - 1);
    Beginning { block: sse::reset(&feed.cursor(earliest - 1), code, reason), ..beginning }
}

/// Alerts out of the log, for one client that comes from before the window.
pub struct Replay {
    reader: Box<dyn Reader>,
    judge: Judge,
    replays: Gauge,
    _permit: OwnedSemaphorePermit,
}

/// What a replay came upon.
pub enum Replayed {
    /// Everything up to this offset was offered; a block, where the client wants what stood there.
    UpTo(i64, Option<Bytes>),
    /// The log dropped everything before this offset while it was read.
    Lost(i64),
}

impl Replay {
    /// Reads from `offered` on, and the 2,000 records before it, which tell repeats.
    pub async fn open(
        feed: &Feed,
        bus: &dyn Bus,
        offered: i64,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, BusError> {
        let (earliest, _) = extent(bus).await?;
        let start = earliest.max(offered + 1 - REACH);
        let reader = bus.reader(TopicRole::Alerts, Start::Offset(start)).await?;
        let replays = feed.meters.replays.clone();
        replays.increment(1);
        Ok(Self { reader, judge: Judge::new(Arc::clone(feed.incarnation())), replays, _permit: permit })
    }

    /// What comes after `offered`. Cancel-safe.
    pub async fn next(&mut self, offered: i64, filter: &Filter) -> Result<Replayed, BusError> {
        loop {
            // The log may hand over a million records without a pause; others want to run too.
            tokio::task::consume_budget().await;
            let delivery = match self.reader.next().await? {
                ReaderItem::Gap { to, .. } if to > offered + 1 => return Ok(Replayed::Lost(to)),
                ReaderItem::Gap { .. } => continue,
                ReaderItem::Delivery(delivery) => delivery,
            };
            let judged = self.judge.judge(&delivery);
            let offset = delivery.position.offset;
            if offset <= offered {
                continue;
            }
            let block = match &judged {
                Judged::Alert(entry) => filter.block(entry).cloned(),
                Judged::Repeat | Judged::Unreadable => None,
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
