//! What became of each frame, and when.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::FrameId;
use jiff::Timestamp;
use tokio::sync::Notify;

/// All frames that somebody knows of.
#[derive(Debug, Default)]
pub struct Book {
    entries: Mutex<HashMap<FrameId, Entry>>,
    /// Rings with each alert.
    pub seen: Notify,
}

/// One frame, from two sides: who sent it and who was alerted about it.
#[derive(Debug, Default, Clone, Copy)]
struct Entry {
    sent: Option<(Timestamp, Timestamp)>,
    alert: Option<(Timestamp, Timestamp)>,
}

/// A frame that was sent, accepted and alerted about.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Its id.
    pub id: FrameId,
    /// When it should be sent.
    pub due: Timestamp,
    /// When the client knew that it was accepted.
    pub accepted: Timestamp,
    /// When the rule was found to match.
    pub raised: Timestamp,
    /// When the subscriber had the alert.
    pub seen: Timestamp,
}

impl Frame {
    /// From when the client knew that it was accepted.
    pub fn since_accepted(&self) -> Duration {
        between(self.accepted, self.seen)
    }

    /// From when it should be sent.
    pub fn since_due(&self) -> Duration {
        between(self.due, self.seen)
    }
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, HashMap<FrameId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame was accepted.
    pub fn accepted(&self, id: FrameId, due: Timestamp, accepted: Timestamp) {
        self.entries().entry(id).or_default().sent = Some((due, accepted));
    }

    /// Its alert came.
    pub fn alerted(&self, id: FrameId, raised: Timestamp, seen: Timestamp) {
        self.entries().entry(id).or_default().alert = Some((raised, seen));
        self.seen.notify_waiters();
    }

    /// Whether its alert came.
    pub fn is_alerted(&self, id: FrameId) -> bool {
        self.entries().get(&id).is_some_and(|entry| entry.alert.is_some())
    }

    /// What became of these, in their order; of those without an alert only how many there are.
    pub fn of(&self, ids: &[FrameId]) -> (Vec<Frame>, usize) {
        let entries = self.entries();
        let frame = |id: &FrameId| {
            let Entry { sent: Some((due, accepted)), alert: Some((raised, seen)) } = *entries.get(id)? else {
                return None;
            };
            Some(Frame { id: *id, due, accepted, raised, seen })
        };
        let frames: Vec<Frame> = ids.iter().filter_map(frame).collect();
        let missing = ids.len() - frames.len();
        (frames, missing)
    }
}

/// From one time to another; nothing where they are the other way round, as an alert that overtakes the 202 is.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The worst time from accepted to alert of each half second, by when the frames were due.
pub fn over_time(frames: &[Frame]) -> Vec<(f64, f64)> {
    let Some(begun) = frames.first().map(|frame| frame.due) else { return Vec::new() };
    let mut points: Vec<(f64, f64)> = Vec::new();
    for frame in frames {
        let at = (between(begun, frame.due).as_secs_f64() * 2.0).floor() / 2.0;
        let took = frame.since_accepted().as_secs_f64() * 1e3;
        match points.last_mut() {
            Some((last, worst)) if *last == at => *worst = worst.max(took),
            _ => points.push((at, took)),
        }
    }
    points
}
