//! Reads the messages of ranges of offsets, and ends.

use contracts::TopicRole;

use crate::seam::{Bus, BusError, Delivery, Range, Reader, ReaderItem};

/// A reader that ends. It returns the messages that were in the ranges when it reached them: retention may drop some before, and Kafka
/// has offsets that no consumer sees, also the last ones of a range (marks of transactions, deleted messages).
pub struct RangeReader {
    reader: Box<dyn Reader>,
    /// The ranges whose end was not reached yet.
    left: Vec<Range>,
}

impl RangeReader {
    /// Opens a reader of these ranges, one for each partition of the topic.
    ///
    /// # Errors
    /// When the log is closed, or refuses.
    pub async fn open(bus: &dyn Bus, role: TopicRole, ranges: &[Range]) -> Result<Self, BusError> {
        let left = ranges.iter().copied().filter(|range| range.earliest < range.end).collect();
        Ok(Self { reader: bus.reader_of(role, ranges).await?, left })
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Delivery>, BusError> {
        while !self.left.is_empty() {
            match self.reader.next().await? {
                ReaderItem::Delivery(delivery) => {
                    let position = delivery.position;
                    let Some(end) = self.end_of(position.partition) else { continue };
                    self.reached(position.partition, position.offset + 1);
                    if position.offset < end {
                        return Ok(Some(delivery));
                    }
                }
                ReaderItem::Gap { partition, to, .. } => self.reached(partition, to),
            }
        }
        Ok(None)
    }

    /// The end of a partition's range, unless it was reached.
    fn end_of(&self, partition: i32) -> Option<i64> {
        self.left.iter().find(|range| range.partition == partition).map(|range| range.end)
    }

    fn reached(&mut self, partition: i32, next: i64) {
        self.left.retain(|range| range.partition != partition || next < range.end);
    }
}
