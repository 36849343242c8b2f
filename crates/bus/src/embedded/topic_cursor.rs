//! Reads a topic from an offset in each partition: the newest messages from memory, older ones from the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::segment;
use super::topic::{Located, TopicLog};
use crate::seam::{BusError, Delivery, ReaderItem};

/// Reads a topic. Partitions take turns.
pub struct TopicCursor {
    log: Arc<TopicLog>,
    /// The next offset of each partition.
    next: Vec<i64>,
    /// The partition to read first.
    turn: usize,
    /// Messages of one partition that were read and not returned yet.
    buffered: VecDeque<Delivery>,
    appended: watch::Receiver<()>,
    closed: CancellationToken,
}

impl TopicCursor {
    /// A cursor that starts at these offsets.
    pub fn new(log: Arc<TopicLog>, next: Vec<i64>, closed: CancellationToken) -> Self {
        let appended = log.watch();
        Self { log, next, turn: 0, buffered: VecDeque::new(), appended, closed }
    }

    /// The next message or gap. Cancel-safe.
    pub async fn next(&mut self) -> Result<ReaderItem, BusError> {
        loop {
            if self.closed.is_cancelled() {
                return Err(BusError::Closed);
            }
            // Before reading, so that a message that arrives in the meantime wakes this task.
            self.appended.borrow_and_update();
            if let Some(item) = self.take().await? {
                return Ok(item);
            }
            tokio::select! {
                () = self.closed.cancelled() => return Err(BusError::Closed),
                // The cursor owns the log, and so also the sender.
                _ = self.appended.changed() => {}
            }
        }
    }

    /// The next available item. State changes only after the last await, so a dropped future loses nothing.
    async fn take(&mut self) -> Result<Option<ReaderItem>, BusError> {
        loop {
            if let Some(delivery) = self.buffered.pop_front() {
                self.log.metrics.consumed(&delivery.message);
                return Ok(Some(ReaderItem::Delivery(delivery)));
            }
            match self.log.locate(&self.next, self.turn) {
                Located::Nowhere => return Ok(None),
                Located::Memory(deliveries) => self.keep(deliveries),
                Located::Gap { from, to } => {
                    return Ok(Some(self.skip(from.partition, from.offset, to)));
                }
                Located::Disk { path, from, end } => {
                    let read = spawn_blocking(move || segment::read(&path, from, end)).await;
                    match read.map_err(|_| BusError::Closed)? {
                        Ok(deliveries) if deliveries.is_empty() => {
                            return Ok(Some(self.skip(from.partition, from.offset, end)));
                        }
                        Ok(deliveries) => self.keep(deliveries),
                        // The segment was dropped in the meantime: the next round finds the gap.
                        Err(_) if self.is_behind(from.partition, from.offset) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    fn keep(&mut self, deliveries: Vec<Delivery>) {
        if let Some(last) = deliveries.last() {
            let partition = last.position.partition as usize;
            self.next[partition] = last.position.offset + 1;
            self.turn = (partition + 1) % self.next.len();
        }
        self.buffered = deliveries.into();
    }

    fn skip(&mut self, partition: i32, from: i64, to: i64) -> ReaderItem {
        self.next[partition as usize] = to;
        ReaderItem::Gap { partition, from, to }
    }

    fn is_behind(&self, partition: i32, offset: i64) -> bool {
        self.log.ranges().iter().any(|range| range.partition == partition && range.earliest > offset)
    }
}
