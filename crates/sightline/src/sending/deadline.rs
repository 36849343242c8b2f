//! The time limits of sending one file, over all its requests and the pauses between them.

use std::time::{Duration, Instant};

use anyhow::bail;
use platform::sending::{ABSENT_LIMIT, BUSY_LIMIT};

/// Least time that a request gets, also where less is left.
const LEAST_REQUEST: Duration = Duration::from_secs(1);

/// The server did not answer within the time limit: the other files would fail too.
#[derive(Debug, thiserror::Error)]
#[error("gave up after {} s: {reason}", .waited.as_secs())]
pub struct ServerAbsent {
    waited: Duration,
    reason: String,
}

/// The server requested a pause that no file waits for: the other files would fail too.
#[derive(Debug, thiserror::Error)]
#[error("not retried: {reason}; the server asks to wait {}", rounded_up(*.pause))]
pub struct PauseTooLong {
    pause: Duration,
    reason: String,
}

/// A failure that a retry may overcome.
pub enum Failure {
    /// The server refused, and requested this pause.
    Refused(Duration, String),
    /// No answer came.
    Unanswered(String),
}

/// The time limits of one file.
pub struct Deadline {
    started: Instant,
    busy: Duration,
    absent: Duration,
    /// Start of the last request.
    requested: Instant,
    /// Start of the first request without an answer since the server last answered.
    unanswered_since: Option<Instant>,
}

impl Deadline {
    /// Starts the time limits; `wait` is `--wait`, in seconds.
    pub fn new(wait: Option<u64>) -> Self {
        let wait = wait.map(Duration::from_secs);
        let (busy, absent) = (wait.unwrap_or(BUSY_LIMIT), wait.unwrap_or(ABSENT_LIMIT));
        let now = Instant::now();
        Self { started: now, busy, absent, requested: now, unanswered_since: None }
    }

    /// Starts a request; returns its timeout, which is at most `longest`.
    pub fn begin_request(&mut self, longest: Duration) -> Duration {
        self.requested = Instant::now();
        let left = self.busy.saturating_sub(self.started.elapsed());
        left.max(LEAST_REQUEST).min(longest)
    }

    /// The server answered the last request.
    pub const fn answered(&mut self) {
        self.unanswered_since = None;
    }

    /// Waits before a retry, at least `pause`.
    ///
    /// # Errors
    /// When the time limit would pass during the pause; `ServerAbsent` if the server did not respond, `PauseTooLong` if it requested
    /// a pause beyond every limit.
    pub async fn wait(&mut self, failure: Failure, pause: Duration) -> anyhow::Result<()> {
        let (pause, reason) = match failure {
            Failure::Refused(requested, reason) => {
                self.answered();
                if requested > self.busy.max(BUSY_LIMIT) {
                    return Err(PauseTooLong { pause: requested, reason }.into());
                }
                (pause.max(requested), reason)
            }
            Failure::Unanswered(reason) => {
                let unanswered = self.unanswered_since.get_or_insert(self.requested).elapsed();
                if unanswered.saturating_add(pause) > self.absent {
                    return Err(ServerAbsent { waited: self.absent.max(unanswered), reason }.into());
                }
                (pause, reason)
            }
        };
        let elapsed = self.started.elapsed();
        if elapsed.saturating_add(pause) > self.busy {
            bail!("gave up after {} s: {reason}; the next try was due in {}", elapsed.as_secs(), rounded_up(pause));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// The value of `--wait`.
pub fn parse_wait(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it must be a whole number of seconds from 0, without a unit, such as 30".to_owned())
}

/// A pause in the unit that suits it: `90 s`, `45 min`, `45 h`, `12 days`.
fn rounded_up(pause: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
    match seconds {
        0..=120 => format!("{seconds} s"),
        121..=7200 => format!("{} min", seconds.div_ceil(MINUTE)),
        7201..=259_200 => format!("{} h", seconds.div_ceil(HOUR)),
        _ => format!("{} days", seconds.div_ceil(DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(10);

    fn gone() -> Failure {
        Failure::Unanswered("gone".to_owned())
    }

    #[tokio::test]
    async fn an_unreachable_server_ends_the_whole_push() {
        let mut deadline = Deadline::new(Some(0));
        let refused = deadline.wait(Failure::Refused(Duration::from_secs(1), "busy".to_owned()), Duration::ZERO).await;
        assert!(!refused.unwrap_err().is::<ServerAbsent>());
        let unanswered = deadline.wait(gone(), Duration::from_secs(1)).await;
        assert_eq!(unanswered.unwrap_err().downcast::<ServerAbsent>().unwrap().to_string(), "gave up after 0 s: gone");
    }

    #[tokio::test]
    async fn an_answer_ends_the_time_without_one() {
        let long_ago = Duration::from_secs(10);
        let mut deadline = Deadline::new(Some(3600));
        deadline.absent = long_ago;
        deadline.wait(gone(), MOMENT).await.unwrap();
        deadline.unanswered_since = Instant::now().checked_sub(long_ago);
        deadline.answered();
        deadline.begin_request(MOMENT);
        deadline.wait(gone(), MOMENT).await.unwrap();
    }

    #[tokio::test]
    async fn the_time_of_a_request_counts() {
        let mut deadline = Deadline::new(Some(60));
        deadline.requested = Instant::now().checked_sub(Duration::from_secs(70)).unwrap();
        let absent = deadline.wait(gone(), MOMENT).await.unwrap_err();
        assert_eq!(absent.to_string(), "gave up after 70 s: gone");
        deadline.started = deadline.requested;
        assert_eq!(deadline.begin_request(Duration::from_secs(70)), LEAST_REQUEST);
    }

    #[tokio::test]
    async fn a_pause_beyond_every_limit_is_not_waited_for() {
        let refuse = |pause| Failure::Refused(pause, "429: quota is used up".to_owned());
        let mut deadline = Deadline::new(None);
        let refused = deadline.wait(refuse(Duration::from_secs(44 * 3600 + 1)), MOMENT).await.unwrap_err();
        let expected = "not retried: 429: quota is used up; the server asks to wait 45 h";
        assert_eq!(refused.downcast::<PauseTooLong>().unwrap().to_string(), expected);
        let refused = Deadline::new(Some(2)).wait(refuse(Duration::from_secs(20)), MOMENT).await.unwrap_err();
        assert_eq!(refused.to_string(), "gave up after 0 s: 429: quota is used up; the next try was due in 20 s");
        assert!(!refused.is::<PauseTooLong>());
    }

    #[test]
    fn a_pause_has_a_suitable_unit() {
        for (seconds, expected) in [(20, "20 s"), (150, "3 min"), (7201, "3 h"), (12 * 86_400, "12 days")] {
            assert_eq!(rounded_up(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_wrong_limit_is_answered_with_what_is_allowed() {
        for wrong in ["5s", "-1", "1.5", ""] {
            assert!(parse_wait(wrong).unwrap_err().contains("whole number of seconds"), "{wrong}");
        }
        assert_eq!((parse_wait("0"), parse_wait("18446744073709551615")), (Ok(0), Ok(u64::MAX)));
    }

    #[tokio::test]
    async fn the_longest_wait_does_not_overflow() {
        let mut deadline = Deadline::new(Some(u64::MAX));
        assert_eq!(deadline.begin_request(MOMENT * 1000), MOMENT * 1000);
        deadline.wait(gone(), MOMENT).await.unwrap();
        deadline.wait(Failure::Refused(MOMENT, "busy".to_owned()), MOMENT).await.unwrap();
    }
}
