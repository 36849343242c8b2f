//! The newest alerts in memory, shared by all live subscriptions.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::watch;

use crate::cursor::AlertCursor;
use crate::entry::{AlertEntry, AlertFilter};

/// Most blocks taken for one client at once.
const MAX_TAKEN: usize = 32;
/// Most alerts examined for one client at once. The writer waits for the lock meanwhile.
const MAX_EXAMINED: usize = 1_000;

/// The newest alerts, and a signal when there are more.
pub struct AlertWindow {
    incarnation: Arc<str>,
    /// Most alerts in the window.
    capacity: usize,
    state: RwLock<State>,
    head: watch::Sender<i64>,
    /// Metrics of all subscriptions together.
    pub meters: Meters,
}

struct State {
    /// Alerts with their offsets, in the order of the log.
    entries: VecDeque<(i64, AlertEntry)>,
    /// `entries` has all alerts from this offset on.
    covered_from: i64,
    /// The last offset that was read.
    head: i64,
}

/// The metrics of this service.
pub struct Meters {
    /// Alerts handed to connections.
    pub deliveries: Counter,
    /// Connected clients.
    pub subscribers: Gauge,
    /// Clients that are served from the log.
    pub replays: Gauge,
    /// `reset` events: the client may have missed alerts.
    pub resets: Counter,
    /// Clients disconnected because they did not keep up.
    pub slow: Counter,
    /// Alerts read from the log.
    pub alerts: Counter,
    /// Repeats read from the log.
    pub repeats: Counter,
    /// Records of the log that are no alerts.
    pub unreadable: Counter,
}

/// What [`AlertWindow::take`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum WindowRead {
    /// Everything up to this offset was examined, and what passes the filter was taken.
    UpTo(i64),
    /// The next alert for the client is no longer in the window.
    Behind,
}

impl AlertWindow {
    /// An empty window whose first alert has the offset `covered_from` or a later one.
    pub fn new(incarnation: Arc<str>, covered_from: i64, capacity: usize) -> Self {
        let head = covered_from - 1;
        Self {
            incarnation,
            capacity,
            state: RwLock::new(State { entries: VecDeque::new(), covered_from, head }),
            head: watch::Sender::new(head),
            meters: Meters {
                deliveries: counter!("sightline_alert_stream_deliveries_total"),
                subscribers: gauge!("sightline_alert_stream_subscribers"),
                replays: gauge!("sightline_alert_stream_replays"),
                resets: counter!("sightline_alert_stream_resets_total"),
                slow: counter!("sightline_alert_stream_cuts_total", "reason" => "slow"),
                alerts: counter!("sightline_alert_stream_alerts_total"),
                repeats: counter!("sightline_alert_stream_repeats_total"),
                unreadable: counter!("sightline_alert_stream_unreadable_total"),
            },
        }
    }

    /// Incarnation of the alerts topic.
    pub fn incarnation(&self) -> &Arc<str> {
        &self.incarnation
    }

    /// The cursor at an offset of this topic.
    pub fn cursor(&self, offset: i64) -> AlertCursor {
        AlertCursor { incarnation: Arc::clone(&self.incarnation), offset }
    }

    /// Changes whenever more of the log was read.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    /// The last offset that was read.
    pub fn head(&self) -> i64 {
        *self.head.borrow()
    }

    /// The window has all alerts from this offset on.
    pub fn covered_from(&self) -> i64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).covered_from
    }

    /// Adds the new alerts of the log, which was read up to `head`.
    pub fn extend(&self, alerts: impl IntoIterator<Item = (i64, AlertEntry)>, head: i64) {
        // Dropped after the lock is released.
        let mut forgotten = Vec::new();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (offset, entry) in alerts {
            self.meters.alerts.increment(1);
            state.entries.push_back((offset, entry));
            if state.entries.len() > self.capacity
                && let Some((oldest, entry)) = state.entries.pop_front()
            {
                state.covered_from = oldest + 1;
                forgotten.push(entry);
            }
        }
        state.head = head;
        drop(state);
        self.head.send_replace(head);
    }

    /// Empties the window: retention dropped what comes before `offset`.
    pub fn skip_to(&self, offset: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.entries.clear();
        state.covered_from = offset;
        state.head = offset - 1;
        drop(state);
        self.head.send_replace(offset - 1);
    }

    /// Takes the alerts after an offset that pass a filter.
    pub fn take(&self, after: i64, filter: &AlertFilter, into: &mut VecDeque<Bytes>) -> WindowRead {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if after + 1 < state.covered_from {
            return WindowRead::Behind;
        }
        if after >= state.head {
            return WindowRead::UpTo(after);
        }
        let first = state.entries.partition_point(|(offset, _)| *offset <= after);
        for (examined, (offset, entry)) in state.entries.iter().skip(first).enumerate() {
            into.extend(filter.block(entry).cloned());
            if into.len() >= MAX_TAKEN || examined >= MAX_EXAMINED {
                return WindowRead::UpTo(*offset);
            }
        }
        WindowRead::UpTo(state.head)
    }
}
