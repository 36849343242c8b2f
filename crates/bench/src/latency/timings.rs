//! Timestamps of each frame.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::FrameId;
use jiff::Timestamp;
use tokio::sync::Notify;

/// Timestamps of all frames, by id.
#[derive(Debug, Default)]
pub struct Timings {
    entries: Mutex<HashMap<FrameId, Entry>>,
    /// Notified with each alert.
    pub seen: Notify,
}

/// The times that the sender and the subscriber recorded for a frame.
#[derive(Debug, Default, Clone, Copy)]
struct Entry {
    sent: Option<(Timestamp, Timestamp)>,
    alert: Option<(Timestamp, Timestamp)>,
}

/// A frame with all its timestamps.
#[derive(Debug, Clone, Copy)]
pub struct FrameTiming {
    /// Its id.
    pub id: FrameId,
    /// When it was due.
    pub due: Timestamp,
    /// When the client received the 202.
    pub accepted: Timestamp,
    /// When the rule matched.
    pub raised: Timestamp,
    /// When the subscriber received the alert.
    pub seen: Timestamp,
}

impl FrameTiming {
    /// Time from the 202 to the alert.
    pub fn since_accepted(&self) -> Duration {
        between(self.accepted, self.seen)
    }

    /// Time from due to the alert.
    pub fn since_due(&self) -> Duration {
        between(self.due, self.seen)
    }
}

impl Timings {
    fn entries(&self) -> MutexGuard<'_, HashMap<FrameId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the 202 of a frame.
    pub fn accepted(&self, id: FrameId, due: Timestamp, accepted: Timestamp) {
        self.entries().entry(id).or_default().sent = Some((due, accepted));
    }

    /// Records the alert of a frame.
    pub fn alerted(&self, id: FrameId, raised: Timestamp, seen: Timestamp) {
        self.entries().entry(id).or_default().alert = Some((raised, seen));
        self.seen.notify_waiters();
    }

    /// Whether the alert of a frame arrived.
    pub fn is_alerted(&self, id: FrameId) -> bool {
        self.entries().get(&id).is_some_and(|entry| entry.alert.is_some())
    }

    /// The complete frames of these ids, in order, and the number of ids without an alert.
    pub fn of(&self, ids: &[FrameId]) -> (Vec<FrameTiming>, usize) {
        let entries = self.entries();
        let frame = |id: &FrameId| {
            let Entry { sent: Some((due, accepted)), alert: Some((raised, seen)) } = *entries.get(id)? else {
                return None;
            };
            Some(FrameTiming { id: *id, due, accepted, raised, seen })
        };
        let frames: Vec<FrameTiming> = ids.iter().filter_map(frame).collect();
        let missing = ids.len() - frames.len();
        (frames, missing)
    }
}

/// Time between two timestamps; zero if they are reversed, because an alert may overtake the 202.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The longest time from 202 to alert in each half second of due times.
pub fn over_time(frames: &[FrameTiming]) -> Vec<(f64, f64)> {
    let Some(started) = frames.first().map(|frame| frame.due) else { return Vec::new() };
    let mut points: Vec<(f64, f64)> = Vec::new();
    for frame in frames {
        let at = (between(started, frame.due).as_secs_f64() * 2.0).floor() / 2.0;
        let took = frame.since_accepted().as_secs_f64() * 1e3;
        match points.last_mut() {
            Some((last, worst)) if *last == at => *worst = worst.max(took),
            _ => points.push((at, took)),
        }
    }
    points
}
