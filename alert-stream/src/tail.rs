//! Follows the end of the log and keeps the window full.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::{Bus, BusError, Reader, ReaderItem, Start};
use contracts::TopicRole;
use futures::FutureExt;
use platform::retry::Backoff;
use tokio_util::sync::CancellationToken;

use crate::entry::{Entry, Judge, Judged};
use crate::feed::Feed;
use crate::repeats::REACH;

/// Most records that go into the window at once.
const AT_ONCE: usize = 256;
/// How long the log may take to hand over what it says it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// The reader at the log's end.
pub struct Tail {
    bus: Arc<dyn Bus>,
    reader: Box<dyn Reader>,
    judge: Judge,
    feed: Arc<Feed>,
    /// The first offset whose record is for clients; those before only tell repeats.
    judged_from: i64,
    /// The last offset that was read.
    head: i64,
}

/// What was read at once.
#[derive(Default)]
struct News {
    alerts: Vec<(i64, Entry)>,
    gap: Option<i64>,
}

impl Tail {
    /// Reads the end of the log: enough to fill the window, and 2,000 records before it to know the repeats. Waits while the
    /// log is out of reach; nothing, when `stop` comes first.
    ///
    /// # Errors
    /// When the log refuses for good.
    pub async fn open(bus: &Arc<dyn Bus>, window: usize, stop: &CancellationToken) -> anyhow::Result<Option<Self>> {
        let mut pauses = pauses();
        loop {
            let opening = async {
                let mut tail = Self::begin(bus, window).await?;
                tail.catch_up().await?;
                Ok(tail)
            };
            let opened = tokio::select! {
                () = stop.cancelled() => return Ok(None),
                opened = opening => opened,
            };
            match opened {
                Ok(tail) => return Ok(Some(tail)),
                Err(error) => wait_or_fail(error, &mut pauses, stop).await?,
            }
        }
    }

    async fn begin(bus: &Arc<dyn Bus>, window: usize) -> Result<Self, BusError> {
        let incarnation: Arc<str> = bus.incarnation(TopicRole::Alerts).await?.into();
        let (earliest, end) = extent(&**bus).await?;
        let reach = REACH + i64::try_from(window).unwrap_or(i64::MAX / 2);
        let start = earliest.max(end - reach);
        // Where nothing is before the start, nothing has to be known of it.
        let judged_from = if start == earliest { start } else { start + REACH };
        Ok(Self {
            bus: Arc::clone(bus),
            reader: bus.reader(TopicRole::Alerts, Start::Offset(start)).await?,
            judge: Judge::new(Arc::clone(&incarnation)),
            feed: Arc::new(Feed::new(incarnation, judged_from, window)),
            judged_from,
            head: start - 1,
        })
    }

    /// The window.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// Reads what is there now.
    async fn catch_up(&mut self) -> Result<(), BusError> {
        let (_, end) = extent(&*self.bus).await?;
        while self.head + 1 < end {
            let news = tokio::time::timeout(PATIENCE, self.read()).await;
            let news =
                news.map_err(|_| BusError::Unavailable(format!("no end of the alerts within {PATIENCE:?}")))??;
            self.publish(news);
        }
        Ok(())
    }

    /// Follows the log until `stop`.
    ///
    /// # Errors
    /// When the log refuses for good, or is another one than before.
    pub async fn follow(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut pauses = pauses();
        loop {
            let news = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                news = self.read() => news,
            };
            match news {
                Ok(news) => {
                    pauses.reset();
                    self.publish(news);
                }
                Err(error) => {
                    wait_or_fail(error, &mut pauses, stop).await?;
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    if let Err(error) = self.reopen().await {
                        wait_or_fail(error, &mut pauses, stop).await?;
                    }
                }
            }
        }
    }

    /// Reads on with a new reader where the old one failed.
    async fn reopen(&mut self) -> Result<(), BusError> {
        let incarnation = self.bus.incarnation(TopicRole::Alerts).await?;
        if incarnation != **self.feed.incarnation() {
            return Err(replaced());
        }
        self.reader = self.bus.reader(TopicRole::Alerts, Start::Offset(self.head + 1)).await?;
        Ok(())
    }

    /// Waits for the next record and takes those that are ready behind it.
    async fn read(&mut self) -> Result<News, BusError> {
        let mut news = News::default();
        let mut item = self.reader.next().await?;
        loop {
            self.take(item, &mut news)?;
            if news.alerts.len() >= AT_ONCE || news.gap.is_some() {
                return Ok(news);
            }
            item = match self.reader.next().now_or_never() {
                Some(Ok(item)) => item,
                // A failure comes again with the next read; what is in hand goes out first.
                Some(Err(_)) | None => return Ok(news),
            };
        }
    }

    fn take(&mut self, item: ReaderItem, news: &mut News) -> Result<(), BusError> {
        match item {
            ReaderItem::Gap { from, to, .. } => {
                tracing::warn!(from, to, "alerts were dropped by retention before they were read");
                self.head = to - 1;
                news.gap = Some(to);
            }
            ReaderItem::Delivery(delivery) => {
                let offset = delivery.position.offset;
                if offset <= self.head {
                    return Err(replaced());
                }
                self.head = offset;
                match self.judge.judge(&delivery) {
                    _ if offset < self.judged_from => {}
                    Judged::Alert(entry) => news.alerts.push((offset, entry)),
                    Judged::Repeat => self.feed.meters.repeats.increment(1),
                    Judged::Unreadable => {
                        self.feed.meters.unreadable.increment(1);
                        tracing::warn!(offset, "a record of the alerts topic is no alert and is left out");
                    }
                }
            }
        }
        Ok(())
    }

    fn publish(&self, news: News) {
        // A gap comes last: what was read before it is out of the window with it.
        match news.gap {
            Some(to) => self.feed.skip_to(to),
            None if self.head < self.judged_from => {}
            None => self.feed.extend(news.alerts, self.head),
        }
    }
}

/// Offsets of the oldest record of the alerts and of the next one.
pub async fn extent(bus: &dyn Bus) -> Result<(i64, i64), BusError> {
    let ranges = bus.ranges(TopicRole::Alerts).await?;
    let range = ranges.first().ok_or_else(|| BusError::Fatal("the alerts topic has no partition".to_owned()))?;
    Ok((range.earliest, range.end))
}

fn replaced() -> BusError {
    BusError::Fatal("the alerts topic was replaced by another; starting anew is needed".to_owned())
}

const fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
}

/// Waits before the next try, where one may help.
async fn wait_or_fail(error: BusError, pauses: &mut Backoff, stop: &CancellationToken) -> anyhow::Result<()> {
    if !error.is_transient() {
        return Err(error).context("alerts cannot be read");
    }
    tracing::warn!(%error, "alerts cannot be read; trying again");
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(pauses.pause()) => {}
    }
    Ok(())
}
