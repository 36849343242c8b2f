//! Tells those who wait for a book that something has changed. What has changed they read from the database, so a lost event only delays
//! them: each also looks by itself every two seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Bus, BusError, Reader, ReaderItem, Start};
use contracts::{BookId, Event, MediaProgressEvent, TopicRole};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Pause between two looks without an event.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Pause before the topic is read again after an error.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// Events of the topic of progress, by book.
pub struct Feed {
    bus: Arc<dyn Bus>,
    books: Mutex<HashMap<BookId, watch::Sender<()>>>,
    closed: CancellationToken,
}

/// The changes of one book.
pub struct Changes {
    events: watch::Receiver<()>,
    closed: CancellationToken,
}

impl Feed {
    /// Reads nothing yet.
    pub fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus, books: Mutex::default(), closed: CancellationToken::new() }
    }

    /// The changes of a book from now on.
    pub fn subscribe(&self, book: BookId) -> Changes {
        let mut books = self.books();
        // Those that nobody watches any more.
        books.retain(|known, sender| *known == book || sender.receiver_count() > 0);
        let events = books.entry(book).or_insert_with(|| watch::channel(()).0).subscribe();
        Changes { events, closed: self.closed.clone() }
    }

    /// Reads the topic until `stop`. Then all who wait stop waiting.
    pub async fn follow(&self, stop: CancellationToken) {
        let reading = async {
            let mut failing = false;
            loop {
                match self.read(&mut failing).await {
                    // Of failures in a row only the first one is logged.
                    Err(error) if !failing => {
                        tracing::warn!(%error, "the progress of books is not read; trying again");
                        failing = true;
                    }
                    Ok(()) | Err(_) => {}
                }
                sleep(READ_AGAIN).await;
            }
        };
        stop.run_until_cancelled(reading).await;
        self.closed.cancel();
    }

    /// Reads the topic until an error. An event ends the `failing` before it.
    async fn read(&self, failing: &mut bool) -> Result<(), BusError> {
        let mut reader: Box<dyn Reader> = self.bus.reader(TopicRole::MediaProgress, Start::Latest).await?;
        loop {
            let ReaderItem::Delivery(delivery) = reader.next().await? else { continue };
            *failing = false;
            // One that cannot be read is of a later version. Whoever waits looks by itself.
            if let Ok(event) = MediaProgressEvent::from_message(&delivery.message)
                && let Some(sender) = self.books().get(&event.data.book)
            {
                sender.send_replace(());
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, HashMap<BookId, watch::Sender<()>>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    /// Waits for a change, or for the time to look again. `false` at the deadline, and when the service stops.
    pub async fn changed_before(&mut self, deadline: Instant) -> bool {
        if Instant::now() >= deadline || self.closed.is_cancelled() {
            return false;
        }
        tokio::select! {
            () = self.closed.cancelled() => false,
            () = sleep_until(deadline) => false,
            () = sleep(LOOK_AGAIN) => true,
            changed = self.events.changed() => {
                if changed.is_err() {
                    // The sender is there as long as this is; nothing is lost if it were not.
                    sleep(LOOK_AGAIN).await;
                }
                true
            }
        }
    }

    /// The same without a deadline. `false` when the service stops.
    pub async fn changed(&mut self) -> bool {
        // Later than it looks again.
        self.changed_before(Instant::now() + LOOK_AGAIN * 2).await
    }
}
