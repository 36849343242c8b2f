//! The state of one source, for people and for the server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use contracts::api::ReportedState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::redact::redact;

/// Longest error that is reported, in characters.
const ERROR: usize = 500;

/// State and counts at one time. Also what the process of a source tells its supervisor each second, a JSON object a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// What the source does.
    pub state: ReportedState,
    /// Since when.
    pub since: Timestamp,
    /// Frames that were decoded.
    pub frames_decoded: u64,
    /// Frames that the server acknowledged.
    pub frames_sent: u64,
    /// Frames that the motion gate skipped.
    pub frames_skipped: u64,
    /// Frames that were dropped because the server was too slow.
    pub frames_dropped: u64,
    /// Frames that the server refused.
    pub frames_refused: u64,
    /// Damaged packets and frames of a recording.
    pub frames_damaged: u64,
    /// Capture time of the last frame that went on to be sent.
    #[serde(default)]
    pub last_captured_at: Option<Timestamp>,
    /// The last error.
    pub last_error: Option<String>,
    /// Whether the camera refused the password, and must not be asked again at once.
    pub password_refused: bool,
}

/// The state of a source, which its thread and its tasks change.
pub struct Status {
    current: Mutex<Current>,
    announce: Option<fn(&Self)>,
    decoded: AtomicU64,
    sent: AtomicU64,
    skipped: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    damaged: AtomicU64,
}

struct Current {
    state: ReportedState,
    since: Timestamp,
    last_captured_at: Option<Timestamp>,
    last_error: Option<String>,
    password_refused: bool,
    /// Whether the state is the last one, whatever a thread still says that has not heard of it.
    is_final: bool,
}

impl Default for Status {
    fn default() -> Self {
        let current = Current {
            state: ReportedState::Connecting,
            since: Timestamp::now(),
            last_captured_at: None,
            last_error: None,
            password_refused: false,
            is_final: false,
        };
        let zero = || AtomicU64::new(0);
        let current = Mutex::new(current);
        Self {
            current,
            announce: None,
            decoded: zero(),
            sent: zero(),
            skipped: zero(),
            dropped: zero(),
            refused: zero(),
            damaged: zero(),
        }
    }
}

impl Status {
    /// `announce` is called for each frame before the queue gets it.
    #[must_use]
    pub fn announced_by(announce: fn(&Self)) -> Self {
        Self { announce: Some(announce), ..Self::default() }
    }

    /// The queue gets a frame with this capture time.
    pub fn captured(&self, at: Timestamp) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).last_captured_at = Some(at);
        if let Some(announce) = self.announce {
            announce(self);
        }
    }

    /// Changes the state; returns whether it is another one.
    pub fn set(&self, state: ReportedState) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        !current.is_final && current.set_state(state)
    }

    /// The source cannot be read; returns whether the error is another one than before.
    pub fn fail(&self, error: &str, password_refused: bool) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_final {
            return false;
        }
        current.set_state(ReportedState::Failed);
        current.password_refused = password_refused;
        current.set_error(error)
    }

    /// The source is given up: its state and its error stay as they are now.
    pub fn give_up(&self, error: &str) {
        self.fail(error, false);
        self.current.lock().unwrap_or_else(PoisonError::into_inner).is_final = true;
    }

    /// An error that does not change the state; returns whether it is another one than before.
    pub fn note(&self, error: &str) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).set_error(error)
    }

    /// A frame was decoded.
    pub fn decoded(&self) {
        self.decoded.fetch_add(1, Ordering::Relaxed);
    }

    /// The server acknowledged a frame.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// The gate skipped a frame.
    pub fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame was dropped.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The server refused a frame.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// So many packets and frames are damaged.
    pub fn damaged(&self, count: u64) {
        self.damaged.store(count, Ordering::Relaxed);
    }

    /// State and counts now.
    pub fn snapshot(&self) -> Snapshot {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            state: current.state,
            since: current.since,
            frames_decoded: count(&self.decoded),
            frames_sent: count(&self.sent),
            frames_skipped: count(&self.skipped),
            frames_dropped: count(&self.dropped),
            frames_refused: count(&self.refused),
            frames_damaged: count(&self.damaged),
            last_captured_at: current.last_captured_at,
            last_error: current.last_error.clone(),
            password_refused: current.password_refused,
        }
    }
}

impl Snapshot {
    /// After its program was told to stop. A recording that was at its end before has ended, and not been stopped.
    #[must_use]
    pub fn stopped(mut self) -> Self {
        if self.state != ReportedState::Ended {
            (self.state, self.since) = (ReportedState::Ended, Timestamp::now());
            let before = self.last_error.map(|error| format!("; the last error was: {error}")).unwrap_or_default();
            self.last_error = Some(format!("stopped{before}").chars().take(ERROR).collect());
        }
        self
    }

    /// After its program has given it up. A state `failed` that nobody renews would be taken for that of a program which is gone.
    #[must_use]
    pub fn given_up(mut self) -> Self {
        if self.state == ReportedState::Failed {
            self.state = ReportedState::Ended;
            let why = self.last_error.map(|error| format!(": {error}")).unwrap_or_default();
            self.last_error = Some(format!("failed{why}").chars().take(ERROR).collect());
        }
        self
    }

    /// With the counts of an earlier process of the same source.
    #[must_use]
    pub fn after(mut self, earlier: &Self) -> Self {
        self.frames_decoded += earlier.frames_decoded;
        self.frames_sent += earlier.frames_sent;
        self.frames_skipped += earlier.frames_skipped;
        self.frames_dropped += earlier.frames_dropped;
        self.frames_refused += earlier.frames_refused;
        self.frames_damaged += earlier.frames_damaged;
        self.last_captured_at = self.last_captured_at.or(earlier.last_captured_at);
        self.last_error = self.last_error.or_else(|| earlier.last_error.clone());
        self
    }
}

impl Current {
    fn set_state(&mut self, state: ReportedState) -> bool {
        let is_new = self.state != state;
        if is_new {
            (self.state, self.since) = (state, Timestamp::now());
        }
        if state == ReportedState::Connected {
            self.password_refused = false;
        }
        is_new
    }

    fn set_error(&mut self, error: &str) -> bool {
        let error: String = redact(error).chars().take(ERROR).collect();
        let is_new = self.last_error.as_ref() != Some(&error);
        self.last_error = Some(error);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_short_and_has_no_credential() {
        let status = Status::default();
        assert!(status.fail(&format!("rtsp://ann:hidden@gate/ {}", "x".repeat(600)), false));
        let snapshot = status.snapshot();
        let error = snapshot.last_error.unwrap();
        assert!(error.starts_with("rtsp://***@gate/ x") && error.chars().count() == 500, "{error}");
        assert_eq!(snapshot.state, ReportedState::Failed);
    }

    #[test]
    fn a_source_that_was_stopped_says_so_unless_it_was_at_its_end() {
        let status = Status::default();
        status.set(ReportedState::Connected);
        let stopped = status.snapshot().stopped();
        assert_eq!((stopped.state, stopped.last_error.as_deref()), (ReportedState::Ended, Some("stopped")));
        status.fail("no route", false);
        let stopped = status.snapshot().stopped();
        assert_eq!(stopped.last_error.as_deref(), Some("stopped; the last error was: no route"));
        status.fail(&"x".repeat(600), false);
        assert_eq!(status.snapshot().stopped().last_error.unwrap().chars().count(), ERROR);
        status.set(ReportedState::Ended);
        let ended = status.snapshot();
        assert_eq!(ended.clone().stopped().since, ended.since);
    }

    #[test]
    fn a_source_that_was_given_up_has_ended_with_its_failure() {
        let status = Status::default();
        status.note("an older error");
        status.give_up("the quota is used up");
        status.set(ReportedState::Connected);
        assert!(!status.set(ReportedState::Ended) && !status.fail("stopped", false), "its thread comes later");
        let snapshot = status.snapshot();
        assert_eq!(
            (snapshot.state, snapshot.last_error.as_deref()),
            (ReportedState::Failed, Some("the quota is used up"))
        );
        let last = snapshot.given_up();
        assert_eq!(
            (last.state, last.last_error.as_deref()),
            (ReportedState::Ended, Some("failed: the quota is used up"))
        );
    }

    #[test]
    fn the_same_state_keeps_its_time() {
        let status = Status::default();
        assert!(status.set(ReportedState::Connected));
        let since = status.snapshot().since;
        assert!(!status.set(ReportedState::Connected));
        assert_eq!(status.snapshot().since, since);
    }
}
