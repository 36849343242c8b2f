//! A clock that a test may advance.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// The time of the system's clock plus a lead. Clones share the lead.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Lead over the system's clock, in microseconds.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Advances this clock and its clones.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.ahead.fetch_add(by, Ordering::SeqCst);
    }

    /// The time, in whole microseconds, as the databases store it.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now().as_microsecond().saturating_add(self.ahead.load(Ordering::SeqCst));
        Timestamp::from_microsecond(now).unwrap_or(Timestamp::MAX)
    }
}
