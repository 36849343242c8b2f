//! Images that wait to be sent: between the thread that decodes and the task that sends.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::source::WhenSlow;
use crate::video::Watch;

/// Most images that wait.
const CAPACITY: usize = 8;
/// How often a thread that waits for space shows that it lives.
const TICK: Duration = Duration::from_millis(100);

/// An image with what the server needs to know of it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The JPEG file.
    pub jpeg: Bytes,
    /// When it was captured.
    pub captured_at: Timestamp,
    /// The same for the same image, also when it is sent again.
    pub key: String,
}

/// A bounded queue.
pub struct Queue {
    when_full: WhenSlow,
    state: Mutex<State>,
    space: Condvar,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Image>,
    is_closed: bool,
}

/// What became of an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits.
    Kept,
    /// It waits, and the oldest was dropped for it.
    DroppedOldest,
    /// The sender has ended.
    Closed,
}

impl Queue {
    /// An empty queue.
    pub fn new(when_full: WhenSlow) -> Self {
        Self { when_full, state: Mutex::default(), space: Condvar::new(), changed: Notify::new() }
    }

    /// Adds an image. With [`WhenSlow::Wait`] it blocks while the queue is full, until the stop of `watch`.
    pub fn push(&self, image: Image, watch: &Watch) -> Pushed {
        let mut state = self.lock();
        while self.when_full == WhenSlow::Wait && state.waiting.len() >= CAPACITY {
            watch.tick();
            if state.is_closed || watch.stop().is_cancelled() {
                return Pushed::Closed;
            }
            state = self.space.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.is_closed {
            return Pushed::Closed;
        }
        let is_full = state.waiting.len() >= CAPACITY;
        if is_full {
            state.waiting.pop_front();
        }
        state.waiting.push_back(image);
        self.changed.notify_one();
        if is_full { Pushed::DroppedOldest } else { Pushed::Kept }
    }

    /// The oldest image; `None` after the queue was closed and emptied. Cancel-safe.
    pub async fn next(&self) -> Option<Image> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if let Some(image) = state.waiting.pop_front() {
                    self.space.notify_one();
                    return Some(image);
                }
                if state.is_closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Nothing is added any more.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.space.notify_all();
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn image(number: i64) -> Image {
        Image { jpeg: Bytes::new(), captured_at: Timestamp::from_second(number).unwrap(), key: number.to_string() }
    }

    #[tokio::test]
    async fn the_oldest_are_dropped_where_the_newest_matter() {
        let (queue, watch) = (Queue::new(WhenSlow::Drop), Watch::new(CancellationToken::new()));
        let dropped = (0..11).filter(|n| queue.push(image(*n), &watch) == Pushed::DroppedOldest).count();
        queue.close();
        assert_eq!((dropped, queue.next().await.unwrap().key.as_str()), (3, "3"));
        let mut rest = 0;
        while queue.next().await.is_some() {
            rest += 1;
        }
        assert_eq!(rest, 7);
        assert_eq!(queue.push(image(0), &watch), Pushed::Closed);
    }

    #[tokio::test]
    async fn a_thread_waits_for_space_where_all_are_kept() {
        let stop = CancellationToken::new();
        let (queue, watch) = (Arc::new(Queue::new(WhenSlow::Wait)), Arc::new(Watch::new(stop.clone())));
        let (sending, watching) = (Arc::clone(&queue), Arc::clone(&watch));
        let thread = tokio::task::spawn_blocking(move || {
            let all = (0..30).all(|n| sending.push(image(n), &watching) == Pushed::Kept);
            sending.close();
            all
        });
        let mut seen = Vec::new();
        while let Some(image) = queue.next().await {
            seen.push(image.key.parse::<i64>().unwrap());
        }
        assert!(thread.await.unwrap() && seen == (0..30).collect::<Vec<_>>(), "{seen:?}");

        let queue = Queue::new(WhenSlow::Wait);
        (0..8).for_each(|n| assert_eq!(queue.push(image(n), &watch), Pushed::Kept));
        stop.cancel();
        assert_eq!(queue.push(image(8), &watch), Pushed::Closed);
    }
}
