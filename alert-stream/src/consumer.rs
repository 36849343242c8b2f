//! Follows the end of the alerts topic and keeps the window full.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, Reader, ReaderItem, Start};
use consumer_kit::{Interrupted, Retry, backoff};
use contracts::TopicRole;
use futures::FutureExt;
use platform::traces::Traces;
use tokio_util::sync::CancellationToken;

use crate::alert_trace::AlertTrace;
use crate::dedup::DEDUP_WINDOW;
use crate::entry::{AlertDecoder, AlertEntry, DecodedRecord};
use crate::window::AlertWindow;

/// Most records of one batch.
const MAX_RECORDS: usize = 256;
/// Time limit for a read of records that the log reports as present.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The reader at the end of the alerts topic.
pub struct AlertTail {
    bus: Arc<dyn Bus>,
    reader: Box<dyn Reader>,
    decoder: AlertDecoder,
    window: Arc<AlertWindow>,
    /// The first offset that clients get. Earlier records are read only to recognise duplicates.
    first_offset: i64,
    /// The last offset that was read.
    read_up_to: i64,
    /// Off until the window is filled: the alerts in it arrived before this process.
    traces: Traces,
    retry: Retry,
}

/// The records that were ready to be read.
#[derive(Default)]
struct ReadBatch {
    alerts: Vec<(i64, AlertEntry)>,
    /// Retention dropped everything before this offset.
    gap: Option<i64>,
}

impl AlertTail {
    /// Reads enough records at the end of the topic to fill the window, and the dedup window before
    /// it. Retries while the log is unreachable. Returns `None` when `stop` comes first.
    ///
    /// # Errors
    /// When the log refuses for good.
    pub async fn open(bus: &Arc<dyn Bus>, window: usize, stop: &CancellationToken) -> anyhow::Result<Option<Self>> {
        let mut retry = retry(stop);
        loop {
            let opening = async {
                let mut tail = Self::begin(bus, window, stop).await?;
                tail.catch_up().await?;
                Ok(tail)
            };
            let Some(opened) = stop.run_until_cancelled(opening).await else { return Ok(None) };
            match opened {
                Ok(tail) => return Ok(Some(tail)),
                Err(error) => match retry.wait_or_fail(error).await {
                    Ok(()) => {}
                    Err(interrupted) => return interrupted.end().map(|()| None),
                },
            }
        }
    }

    async fn begin(bus: &Arc<dyn Bus>, window: usize, stop: &CancellationToken) -> Result<Self, BusError> {
        let topic_id: Arc<str> = bus.topic_id(TopicRole::Alerts).await?.into();
        let (earliest, end) = alerts_range(&**bus).await?;
        let records = DEDUP_WINDOW + i64::try_from(window).unwrap_or(i64::MAX / 2);
        let start = earliest.max(end - records);
        // At the start of the topic there is nothing more to read. A duplicate is sent where retention dropped its original.
        let first_offset = if start == earliest { start } else { start + DEDUP_WINDOW };
        Ok(Self {
            bus: Arc::clone(bus),
            reader: bus.reader(TopicRole::Alerts, Start::Offset(start)).await?,
            decoder: AlertDecoder::new(Arc::clone(&topic_id)),
            window: Arc::new(AlertWindow::new(topic_id, first_offset, window)),
            first_offset,
            read_up_to: start - 1,
            traces: Traces::off(),
            retry: retry(stop),
        })
    }

    /// The window that this fills.
    pub fn window(&self) -> Arc<AlertWindow> {
        Arc::clone(&self.window)
    }

    /// Reads the records that the topic has now.
    async fn catch_up(&mut self) -> Result<(), BusError> {
        let (_, end) = alerts_range(&*self.bus).await?;
        while self.read_up_to + 1 < end {
            let batch = tokio::time::timeout(READ_TIMEOUT, self.read()).await;
            let batch = batch.map_err(|_| BusError::Unavailable(format!("no record within {READ_TIMEOUT:?}")))??;
            self.publish(batch);
        }
        Ok(())
    }

    /// Follows the topic until `stop`.
    ///
    /// # Errors
    /// When the log refuses for good, or the topic was replaced by another.
    pub async fn follow(mut self, traces: Traces, stop: &CancellationToken) -> anyhow::Result<()> {
        self.traces = traces;
        loop {
            let Some(batch) = stop.run_until_cancelled(self.read()).await else { return Ok(()) };
            match batch {
                Ok(batch) => {
                    self.retry.reset();
                    self.publish(batch);
                }
                Err(error) => {
                    if let Err(interrupted) = self.recover(error).await {
                        return interrupted.end();
                    }
                }
            }
        }
    }

    /// Waits after an error, then continues with a new reader.
    async fn recover(&mut self, error: BusError) -> Result<(), Interrupted> {
        self.retry.wait_or_fail(error).await?;
        while let Err(error) = self.reopen().await {
            self.retry.wait_or_fail(error).await?;
        }
        Ok(())
    }

    async fn reopen(&mut self) -> Result<(), BusError> {
        let topic_id = self.bus.topic_id(TopicRole::Alerts).await?;
        if topic_id != **self.window.topic_id() {
            return Err(replaced());
        }
        self.reader = self.bus.reader(TopicRole::Alerts, Start::Offset(self.read_up_to + 1)).await?;
        Ok(())
    }

    /// Waits for the next record and reads those that are ready after it.
    async fn read(&mut self) -> Result<ReadBatch, BusError> {
        let mut batch = ReadBatch::default();
        let mut item = self.reader.next().await?;
        loop {
            self.take(item, &mut batch)?;
            if batch.alerts.len() >= MAX_RECORDS || batch.gap.is_some() {
                return Ok(batch);
            }
            item = match self.reader.next().now_or_never() {
                Some(Ok(item)) => item,
                // The next read returns the error again; the batch is published first.
                Some(Err(_)) | None => return Ok(batch),
            };
        }
    }

    fn take(&mut self, item: ReaderItem, batch: &mut ReadBatch) -> Result<(), BusError> {
        match item {
            ReaderItem::Gap { from, to, .. } => {
                tracing::warn!(from, to, "retention dropped alerts before they were read");
                self.read_up_to = to - 1;
                batch.gap = Some(to);
            }
            ReaderItem::Delivery(delivery) => {
                let offset = delivery.position.offset;
                if offset <= self.read_up_to {
                    return Err(replaced());
                }
                self.read_up_to = offset;
                let start = self.traces.now();
                match self.decoder.decode(&delivery) {
                    _ if offset < self.first_offset => {}
                    DecodedRecord::New(entry) => {
                        let trace = AlertTrace::of(&self.traces, &delivery, start);
                        batch.alerts.push((offset, entry.traced(trace)));
                    }
                    DecodedRecord::Duplicate => self.window.metrics.duplicates.increment(1),
                    DecodedRecord::Unreadable => {
                        self.window.metrics.unreadable.increment(1);
                        tracing::warn!(offset, "skipped a record of the alerts topic that is not an alert");
                    }
                }
            }
        }
        Ok(())
    }

    fn publish(&self, batch: ReadBatch) {
        // A batch ends at a gap. Clearing the window then also discards the alerts that were read before the gap.
        match batch.gap {
            Some(to) => self.window.clear_before(to),
            None if self.read_up_to < self.first_offset => {}
            None => self.window.extend(batch.alerts, self.read_up_to),
        }
    }
}

/// The offset of the oldest retained alert, and the one after the newest.
pub async fn alerts_range(bus: &dyn Bus) -> Result<(i64, i64), BusError> {
    let ranges = bus.ranges(TopicRole::Alerts).await?;
    let range = ranges.first().ok_or_else(|| BusError::Fatal("the alerts topic has no partition".to_owned()))?;
    Ok((range.earliest, range.end))
}

fn replaced() -> BusError {
    BusError::Fatal("the alerts topic was replaced by another; restart this service".to_owned())
}

fn retry(stop: &CancellationToken) -> Retry {
    Retry::new("alerts cannot be read", backoff::READ, stop)
}
