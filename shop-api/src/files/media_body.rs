//! The body of a download: bytes of a file, read as its connection asks for them.
//!
//! In: an opened file and a range. Out: the bytes. Guarantees: a slow reader holds one small step, and a larger one only out of a bound for
//! all readers, which it keeps no longer than it takes to send; no byte is read more than half a second after the last look whether the
//! link is still allowed; a body that lacks bytes ends with an error, so its client notices.
//!
//! Steps instead of one long read: a connection to S3 buffers what it is sent, up to some hundred KiB for each reader.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api_kit::shares::Units;
use axum::BoxError;
use axum::body::HttpBody;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use http_body::Frame;
use shop::Opened;
use store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Files;

/// Bytes of the smallest step, which every reader has.
const SMALL: u64 = 16 << 10;
/// Bytes of the largest step.
const LARGE: u64 = 512 << 10;
/// A step that is sent in this time is followed by one of twice its size.
const FAST: Duration = Duration::from_millis(100);
/// After a step that takes longer, the next one is the smallest.
const SLOW: Duration = Duration::from_millis(500);
/// How long a look whether the link is allowed counts.
const CHECKED: Duration = Duration::from_millis(500);

/// Why a body ends before its last byte. The client only sees that the connection closes.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the link is not allowed any more")]
    Ended,
    #[error("the file cannot be read")]
    Failed,
    #[error("the file has fewer bytes than it should")]
    Short,
}

/// The bytes of a range. It reports no length of its own, because a long response with one would count as bytes in memory; the header
/// `Content-Length` has it.
pub struct MediaBody {
    bytes: BoxStream<'static, Result<Bytes, BoxError>>,
    left: u64,
}

impl MediaBody {
    /// The bytes of `range`. `place` is free again when the body ends.
    pub fn new(files: Files, opened: Opened, range: Range<u64>, place: Units) -> Self {
        let left = range.end - range.start;
        let reader = Reader {
            files,
            opened,
            at: range.start,
            end: range.end,
            step: None,
            pace: Pace::default(),
            checked: Instant::now(),
            _place: place,
        };
        let bytes = stream::try_unfold(reader, |reader| async move { reader.next().await.map_err(BoxError::from) });
        Self { bytes: bytes.boxed(), left }
    }
}

impl HttpBody for MediaBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = ready!(self.bytes.poll_next_unpin(context));
        if let Some(Ok(bytes)) = &polled {
            self.left = self.left.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(polled.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

/// Reads a range step by step.
struct Reader {
    files: Files,
    opened: Opened,
    at: u64,
    end: u64,
    step: Option<Step>,
    pace: Pace,
    /// When the link was looked at.
    checked: Instant,
    _place: Units,
}

/// Some blocks of the file.
struct Step {
    blocks: BoxStream<'static, Result<Bytes, StoreError>>,
    /// Where the next step begins.
    end: u64,
    larger: Option<Arc<OwnedSemaphorePermit>>,
}

impl Reader {
    /// The next block; `None` at the end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Broken> {
        while self.at < self.end {
            self.check().await?;
            if self.step.is_none() {
                self.step = Some(self.next_step().await?);
            }
            if let Some(block) = self.block().await? {
                return Ok(Some((block, self)));
            }
        }
        Ok(None)
    }

    /// Looks whether the link is allowed, if the last look was some time ago.
    async fn check(&mut self) -> Result<(), Broken> {
        if self.checked.elapsed() < CHECKED {
            return Ok(());
        }
        let now = Instant::now();
        match self.files.shop().still_allowed(&self.opened).await {
            Ok(()) => self.checked = now,
            Err(error) => {
                let Some(cause) = error.cause() else {
                    tracing::info!(book = %self.opened.book, "a download ended: its link is not allowed any more");
                    return Err(Broken::Ended);
                };
                return Err(failed(cause));
            }
        }
        Ok(())
    }

    /// Begins to read the next step, of a size that follows from the pace and from what other readers have.
    async fn next_step(&mut self) -> Result<Step, Broken> {
        let (bytes, larger) = self.pace.next_step(Instant::now(), self.files.larger_steps());
        let end = self.end.min(self.at.saturating_add(bytes));
        let blocks = self.opened.read(self.at..end).await;
        let blocks = blocks.map_err(|error| failed(error.cause().unwrap_or("its file is gone")))?;
        Ok(Step { blocks, end, larger: larger.map(Arc::new) })
    }

    /// The next block of the step; `None` at its end, after which there is no step.
    async fn block(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some(step) = &mut self.step else { return Ok(None) };
        let block = step.blocks.try_next().await.map_err(|error| failed(&error.to_string()))?;
        let Some(block) = block.filter(|block| !block.is_empty()) else {
            return Err(short(&self.opened));
        };
        self.at += block.len() as u64;
        let held = match &step.larger {
            Some(permit) => Bytes::from_owner(HeldBytes { block, _permit: Arc::clone(permit) }),
            None => block,
        };
        if self.at >= step.end {
            self.step = None;
        }
        Ok(Some(held))
    }
}

/// A failure that the operator must know.
fn failed(cause: &str) -> Broken {
    tracing::warn!(error = cause, "a download broke off: its file cannot be read");
    Broken::Failed
}

fn short(opened: &Opened) -> Broken {
    tracing::error!(book = %opened.book, asset = opened.asset.as_str(), "the file of a book is shorter than it was");
    Broken::Short
}

/// Bytes of a larger step, which count until they are written to the connection.
struct HeldBytes {
    block: Bytes,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.block
    }
}

/// How fast the reader takes its steps.
struct Pace {
    /// Bytes of the next step.
    bytes: u64,
    /// When the last step began.
    began: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bytes: SMALL, began: None }
    }
}

impl Pace {
    /// The bytes of the next step, with a permit if it is larger than the smallest.
    fn next_step(&mut self, now: Instant, larger_steps: &Arc<Semaphore>) -> (u64, Option<OwnedSemaphorePermit>) {
        match self.began.replace(now).map(|began| now - began) {
            Some(took) if took < FAST => self.bytes = (2 * self.bytes).min(LARGE),
            Some(took) if took > SLOW => self.bytes = SMALL,
            _ => {}
        }
        if self.bytes == SMALL {
            return (SMALL, None);
        }
        let permits = u32::try_from(self.bytes).unwrap_or(u32::MAX);
        match Arc::clone(larger_steps).try_acquire_many_owned(permits) {
            Ok(permit) => (self.bytes, Some(permit)),
            // Another one may be free for the step after this.
            Err(_) => (SMALL, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment after the last one.
    struct Clock(Instant);

    impl Clock {
        fn after(&mut self, millis: u64) -> Instant {
            self.0 += Duration::from_millis(millis);
            self.0
        }
    }

    fn bytes_for(number: u64) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(usize::try_from(number).unwrap()))
    }

    #[test]
    fn a_fast_reader_gets_larger_steps_and_a_slow_one_the_smallest() {
        let (larger, mut pace, mut clock) = (bytes_for(1 << 20), Pace::default(), Clock(Instant::now()));
        let mut next = |millis| pace.next_step(clock.after(millis), &larger).0;
        let steps = [SMALL, 2 * SMALL, 4 * SMALL, 8 * SMALL, 16 * SMALL, LARGE, LARGE];
        assert_eq!([5; 7].map(&mut next), steps);
        assert_eq!(next(300), LARGE, "neither fast nor slow");
        assert_eq!([1000, 5].map(next), [SMALL, 2 * SMALL]);
    }

    #[test]
    fn larger_steps_of_all_readers_are_bounded() {
        let larger = bytes_for(2 * SMALL);
        let (mut one, mut other, now) = (Pace::default(), Pace::default(), Instant::now());
        let next = |pace: &mut Pace| pace.next_step(now, &larger);
        assert_eq!((next(&mut one).0, next(&mut other).0), (SMALL, SMALL));
        let (bytes, held) = next(&mut one);
        assert_eq!(bytes, 2 * SMALL);
        assert_eq!(next(&mut other).0, SMALL, "the other reader has the bytes");
        drop(held);
        assert_eq!(larger.available_permits(), usize::try_from(2 * SMALL).unwrap(), "they are free again");
    }
}
