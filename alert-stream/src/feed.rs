//! The newest alerts in memory, for everybody who listens live.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::watch;

use crate::cursor::Cursor;
use crate::entry::{Entry, Filter};

/// Most blocks that are taken for one client at once.
const TAKE: usize = 32;
/// Most alerts that are looked at for one client at once: the tail waits meanwhile.
const LOOK: usize = 1_000;

/// The window, and the bell that rings when it moves.
pub struct Feed {
    incarnation: Arc<str>,
    capacity: usize,
    window: RwLock<Window>,
    head: watch::Sender<i64>,
    /// What is counted, for all subscriptions together.
    pub meters: Meters,
}

struct Window {
    /// Alerts with their offsets, in the log's order.
    entries: VecDeque<(i64, Entry)>,
    /// All alerts from this offset on are in `entries`.
    covered_from: i64,
    /// The last offset that was read.
    head: i64,
}

/// What is counted.
pub struct Meters {
    /// Alerts handed to connections.
    pub deliveries: Counter,
    /// Clients that listen.
    pub subscribers: Gauge,
    /// Clients that are served from the log.
    pub replays: Gauge,
    /// Clients told that alerts may be missing.
    pub resets: Counter,
    /// Clients cut for not keeping up.
    pub slow: Counter,
    /// Alerts of the log.
    pub alerts: Counter,
    /// Repeats on the log.
    pub repeats: Counter,
    /// Records of the log that are no alerts.
    pub unreadable: Counter,
}

/// What there was for a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Everything up to this offset was looked at; what the client wants of it was taken.
    UpTo(i64),
    /// The window has moved past the client's place.
    Fallen,
}

impl Feed {
    /// An empty window whose first alert will be at `covered_from` or later.
    pub fn new(incarnation: Arc<str>, covered_from: i64, capacity: usize) -> Self {
        let head = covered_from - 1;
        Self {
            incarnation,
            capacity,
            window: RwLock::new(Window { entries: VecDeque::new(), covered_from, head }),
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

    /// Which log this is the end of.
    pub fn incarnation(&self) -> &Arc<str> {
        &self.incarnation
    }

    /// The cursor of a place on this log.
    pub fn cursor(&self, offset: i64) -> Cursor {
        Cursor { incarnation: Arc::clone(&self.incarnation), offset }
    }

    /// Rings when there is more.
    pub fn bell(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    /// The last offset that was read.
    pub fn head(&self) -> i64 {
        *self.head.borrow()
    }

    /// All alerts from this offset on can be taken from the window.
    pub fn covered_from(&self) -> i64 {
        self.window.read().unwrap_or_else(PoisonError::into_inner).covered_from
    }

    /// The log was read up to `head`, and these are its new alerts.
    pub fn extend(&self, alerts: impl IntoIterator<Item = (i64, Entry)>, head: i64) {
        let mut forgotten = Vec::new();
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        for (offset, entry) in alerts {
            self.meters.alerts.increment(1);
            window.entries.push_back((offset, entry));
            if window.entries.len() > self.capacity
                && let Some((oldest, entry)) = window.entries.pop_front()
            {
                window.covered_from = oldest + 1;
                forgotten.push(entry);
            }
        }
        window.head = head;
        drop(window);
        self.head.send_replace(head);
    }

    /// The log lost what was to come before this offset.
    pub fn skip_to(&self, offset: i64) {
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        window.entries.clear();
        window.covered_from = offset;
        window.head = offset - 1;
        drop(window);
        self.head.send_replace(offset - 1);
    }

    /// Takes what comes after an offset and passes a filter.
    pub fn take(&self, after: i64, filter: &Filter, into: &mut VecDeque<Bytes>) -> Taken {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        if after + 1 < window.covered_from {
            return Taken::Fallen;
        }
        if after >= window.head {
            return Taken::UpTo(after);
        }
        let first = window.entries.partition_point(|(offset, _)| *offset <= after);
        for (looked, (offset, entry)) in window.entries.iter().skip(first).enumerate() {
            into.extend(filter.block(entry).cloned());
            if into.len() >= TAKE || looked >= LOOK {
                return Taken::UpTo(*offset);
            }
        }
        Taken::UpTo(window.head)
    }
}
