//! The newest alerts in memory, shared by all live subscriptions.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::watch;

use crate::cursor::AlertCursor;
use crate::entry::{AlertEntry, AlertFilter};

/// Number of events after which one call of [`AlertWindow::take`] returns.
const MAX_TAKEN: usize = 32;
/// Most alerts that one call of [`AlertWindow::take`] examines. The writer waits for the lock meanwhile.
const MAX_EXAMINED: usize = 1_000;

/// The newest alerts. Subscriptions are notified when there are more.
pub struct AlertWindow {
    topic_id: Arc<str>,
    /// Most alerts in the window.
    capacity: usize,
    state: RwLock<State>,
    read_up_to: watch::Sender<i64>,
    pub metrics: StreamMetrics,
}

struct State {
    /// Alerts with their offsets, in the order of the log.
    entries: VecDeque<(i64, AlertEntry)>,
    /// `entries` has all alerts from this offset on.
    covered_from: i64,
    /// The last offset that was read.
    read_up_to: i64,
    /// Retention dropped records before this offset that were never read.
    lost_before: i64,
}

/// Metrics of the service, for all subscriptions together.
pub struct StreamMetrics {
    /// Alerts handed to connections.
    pub deliveries: Counter,
    /// Connected clients.
    pub subscribers: Gauge,
    /// Clients served from the log, because they resumed before the window.
    pub replays: Gauge,
    /// `reset` events sent: the client may have missed alerts.
    pub resets: Counter,
    /// Clients disconnected because they did not keep up.
    pub slow: Counter,
    /// Alerts read from the log.
    pub alerts: Counter,
    /// Duplicates read from the log.
    pub duplicates: Counter,
    /// Records of the alerts topic that cannot be decoded as an alert.
    pub unreadable: Counter,
}

/// Result of [`AlertWindow::take`].
#[derive(Debug, PartialEq, Eq)]
pub enum WindowRead {
    /// Every alert up to this offset was examined; those that pass the filter were returned.
    UpTo(i64),
    /// The next alert for the client is no longer in the window.
    Behind,
    /// Retention dropped every record before this offset, some of them before this service read them.
    Lost(i64),
}

impl AlertWindow {
    /// An empty window whose first alert has the offset `covered_from` or a later one.
    pub fn new(topic_id: Arc<str>, covered_from: i64, capacity: usize) -> Self {
        let read_up_to = covered_from - 1;
        Self {
            topic_id,
            capacity,
            state: RwLock::new(State { entries: VecDeque::new(), covered_from, read_up_to, lost_before: i64::MIN }),
            read_up_to: watch::Sender::new(read_up_to),
            metrics: StreamMetrics {
                deliveries: counter!("sightline_alert_stream_deliveries_total"),
                subscribers: gauge!("sightline_alert_stream_subscribers"),
                replays: gauge!("sightline_alert_stream_replays"),
                resets: counter!("sightline_alert_stream_resets_total"),
                slow: counter!("sightline_alert_stream_cuts_total", "reason" => "slow"),
                alerts: counter!("sightline_alert_stream_alerts_total"),
                duplicates: counter!("sightline_alert_stream_repeats_total"),
                unreadable: counter!("sightline_alert_stream_unreadable_total"),
            },
        }
    }

    /// Id of the alerts topic.
    pub fn topic_id(&self) -> &Arc<str> {
        &self.topic_id
    }

    /// The cursor at an offset of this topic.
    pub fn cursor(&self, offset: i64) -> AlertCursor {
        AlertCursor { topic_id: Arc::clone(&self.topic_id), offset }
    }

    /// A receiver of the last offset that was read.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.read_up_to.subscribe()
    }

    /// The last offset that was read.
    pub fn read_up_to(&self) -> i64 {
        *self.read_up_to.borrow()
    }

    /// The window has all alerts from this offset on.
    pub fn covered_from(&self) -> i64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).covered_from
    }

    /// Adds new alerts. `read_up_to` is the last offset that was read.
    pub fn extend(&self, alerts: impl IntoIterator<Item = (i64, AlertEntry)>, read_up_to: i64) {
        // Dropped after the lock is released.
        let mut evicted = Vec::new();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (offset, entry) in alerts {
            self.metrics.alerts.increment(1);
            state.entries.push_back((offset, entry));
            if state.entries.len() > self.capacity
                && let Some((oldest, entry)) = state.entries.pop_front()
            {
                state.covered_from = oldest + 1;
                evicted.push(entry);
            }
        }
        state.read_up_to = read_up_to;
        drop(state);
        self.read_up_to.send_replace(read_up_to);
    }

    /// Empties the window, because retention dropped every record before `offset`. A gap before the start of the window changes
    /// nothing.
    pub fn clear_before(&self, offset: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if offset <= state.covered_from {
            return;
        }
        state.entries.clear();
        state.covered_from = offset;
        state.read_up_to = offset - 1;
        state.lost_before = offset;
        drop(state);
        self.read_up_to.send_replace(offset - 1);
    }

    /// Appends to `into` the alerts after an offset that pass a filter.
    pub fn take(&self, after: i64, filter: &AlertFilter, into: &mut VecDeque<Bytes>) -> WindowRead {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if after + 1 < state.lost_before {
            return WindowRead::Lost(state.lost_before);
        }
        if after + 1 < state.covered_from {
            return WindowRead::Behind;
        }
        if after >= state.read_up_to {
            return WindowRead::UpTo(after);
        }
        let first = state.entries.partition_point(|(offset, _)| *offset <= after);
        for (examined, (offset, entry)) in (1..).zip(state.entries.iter().skip(first)) {
            if let Some(event) = filter.event(entry) {
                into.push_back(event.clone());
                entry.delivered();
            }
            if into.len() >= MAX_TAKEN || examined >= MAX_EXAMINED {
                return WindowRead::UpTo(*offset);
            }
        }
        WindowRead::UpTo(state.read_up_to)
    }
}

#[cfg(test)]
mod tests {
    use accounts::Caller;
    use contracts::TenantId;

    use super::*;
    use crate::entry::AlertShape;

    fn after(window: &AlertWindow, offset: i64) -> WindowRead {
        let caller = Caller::new(TenantId::shared(), Vec::new());
        window.take(offset, &AlertFilter::of(&caller, AlertShape::Alert), &mut VecDeque::new())
    }

    #[test]
    fn a_gap_before_the_window_does_not_widen_it() {
        let window = AlertWindow::new("topic".into(), 10, 100);
        window.clear_before(5);
        assert_eq!((window.covered_from(), window.read_up_to()), (10, 9));
        assert_eq!(after(&window, 6), WindowRead::Behind);
        window.clear_before(12);
        assert_eq!((window.covered_from(), window.read_up_to()), (12, 11));
        assert_eq!(after(&window, 6), WindowRead::Lost(12));
    }
}
