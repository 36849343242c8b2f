//! Ends a read that blocks: FFmpeg calls back every tenth of a second while it waits for the network.
//!
//! FFmpeg's own `timeout` has no default, and fires only after twice its value, so the limits are kept here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The limits of one source, shared by its decoding thread and the tasks beside it. Times are in milliseconds after `started`.
#[derive(Debug)]
pub struct Watch {
    started: Instant,
    stop: CancellationToken,
    /// When the source counts as stalled; `u64::MAX` for never.
    deadline: AtomicU64,
    /// The last sign of life of the thread.
    tick: AtomicU64,
    is_stalled: AtomicBool,
}

/// Why a read was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The program stops.
    Stop,
    /// No frame came in time.
    Stalled,
}

impl Watch {
    /// A watch without a deadline, until `stop`.
    pub fn new(stop: CancellationToken) -> Self {
        let (deadline, tick) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Self { started: Instant::now(), stop, deadline, tick, is_stalled: AtomicBool::new(false) }
    }

    /// The next frame must come within this time.
    pub fn expect_within(&self, limit: Duration) {
        self.is_stalled.store(false, Ordering::Relaxed);
        self.deadline.store(self.now().saturating_add(milliseconds(limit)), Ordering::Relaxed);
    }

    /// The thread waits for something other than the source, such as the server.
    pub fn expect_nothing(&self) {
        self.deadline.store(u64::MAX, Ordering::Relaxed);
    }

    /// Whether the deadline has passed by this time, and the thread still reads: FFmpeg did not ask.
    pub fn is_overdue(&self, by: Duration) -> bool {
        self.now() > self.deadline.load(Ordering::Relaxed).saturating_add(milliseconds(by))
    }

    /// A sign of life of the thread.
    pub fn tick(&self) {
        self.tick.store(self.now(), Ordering::Relaxed);
    }

    /// Time since the last sign of life.
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.tick.load(Ordering::Relaxed)))
    }

    /// Whether a read must end now. FFmpeg calls it while it waits.
    pub fn interrupts(&self) -> bool {
        self.tick();
        let is_late = self.now() > self.deadline.load(Ordering::Relaxed);
        if is_late {
            self.is_stalled.store(true, Ordering::Relaxed);
        }
        is_late || self.stop.is_cancelled()
    }

    /// Whether the program stops.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Why the last read was interrupted, if it was.
    pub fn cause(&self) -> Option<Cause> {
        if self.stop.is_cancelled() {
            return Some(Cause::Stop);
        }
        self.is_stalled.load(Ordering::Relaxed).then_some(Cause::Stalled)
    }

    /// The token of the stop.
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    fn now(&self) -> u64 {
        milliseconds(self.started.elapsed())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_ends_at_the_deadline_and_at_the_stop() {
        let stop = CancellationToken::new();
        let watch = Watch::new(stop.clone());
        assert!(!watch.interrupts());
        watch.expect_within(Duration::from_secs(60));
        assert!(!watch.interrupts() && watch.cause().is_none());
        watch.expect_within(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(3));
        assert!(watch.interrupts());
        assert_eq!(watch.cause(), Some(Cause::Stalled));
        assert!(watch.is_overdue(Duration::ZERO) && !watch.is_overdue(Duration::from_secs(60)));
        watch.expect_nothing();
        assert!(!watch.interrupts() && !watch.is_overdue(Duration::ZERO));
        stop.cancel();
        assert!(watch.interrupts());
        assert_eq!(watch.cause(), Some(Cause::Stop));
    }
}
