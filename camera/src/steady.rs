//! The pace of a source that its server buffers, as with HLS: its frames arrive in bursts of a segment of several seconds, and each is
//! held back until its turn by the stream's own clock, as a player does.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

/// How much faster than its clock a source is read that is late. Faster, what was held up would be a burst again.
const CATCH_UP: f64 = 1.5;
/// Longest time that a frame is held back, and that it may be late. Beyond them, the source's clock was set.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
const LONGEST_LATE: Duration = Duration::from_secs(60);
/// Longest time from one frame to the next. A longer one is a segment that was missed: a reader that waits it out stays as far behind as
/// before, and misses the next one too.
const LONGEST_STEP: SignedDuration = SignedDuration::from_millis(1500);

/// Gives each frame of one connection its turn.
#[derive(Debug, Default)]
pub struct Steady {
    /// A turn, and the time on the source's clock at it.
    anchor: Option<(Instant, SignedDuration)>,
    /// The same of the last frame.
    last: Option<(Instant, SignedDuration)>,
}

/// The turn of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// When it is taken.
    pub at: Instant,
    /// How much later that is than by the source's clock.
    pub late: Duration,
}

impl Steady {
    /// The turn of a frame: `time` is that of the source's clock, `now` when it can be taken.
    pub fn turn(&mut self, time: SignedDuration, now: Instant) -> Turn {
        let step = self.last.map(|(_, last)| time.saturating_sub(last));
        let due = self.due(time).filter(|due| {
            let (wait, late) = (due.saturating_duration_since(now), now.saturating_duration_since(*due));
            wait <= LONGEST_WAIT
                && late <= LONGEST_LATE
                && step.is_none_or(|step| (SignedDuration::ZERO..=LONGEST_STEP).contains(&step))
        });
        let (at, late) = match due {
            Some(due) => {
                let at = due.max(now).max(self.earliest(step).unwrap_or(now));
                (at, at.saturating_duration_since(due))
            }
            None => {
                self.anchor = Some((now, time));
                (now, Duration::ZERO)
            }
        };
        self.last = Some((at, time));
        Turn { at, late }
    }

    /// When a frame that is so much later than the last one by the source's clock may be taken, however late it is.
    fn earliest(&self, step: Option<SignedDuration>) -> Option<Instant> {
        let step = Duration::try_from(step?).ok()?;
        self.last?.0.checked_add(step.div_f64(CATCH_UP))
    }

    fn due(&self, time: SignedDuration) -> Option<Instant> {
        let (at, zero) = self.anchor?;
        let since = time.saturating_sub(zero);
        match Duration::try_from(since) {
            Ok(after) => at.checked_add(after),
            Err(_) => at.checked_sub(since.unsigned_abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 40;

    fn ms(milliseconds: i64) -> SignedDuration {
        SignedDuration::from_millis(milliseconds)
    }

    /// When each frame is taken and how late, in thousandths of a second; `ready` is when it can be taken at the earliest.
    fn turns(times: impl IntoIterator<Item = i64>, ready: impl Fn(i64) -> u64) -> Vec<(u64, u64)> {
        let (begun, mut steady, mut now) = (Instant::now(), Steady::default(), 0);
        let turn = |time: i64| {
            now = now.max(ready(time));
            let turn = steady.turn(ms(time), begun + Duration::from_millis(now));
            let at = turn.at.duration_since(begun).as_micros() as u64;
            now = at.div_ceil(1000);
            (at / 1000, turn.late.as_millis() as u64)
        };
        times.into_iter().map(turn).collect()
    }

    #[test]
    fn a_burst_becomes_steady() {
        // Segments of six seconds, each there at once.
        let turns = turns((0..500).map(|n| n * PERIOD), |_| 0);
        assert!(turns.iter().zip(0..).all(|(turn, n)| *turn == (n * 40, 0)), "{turns:?}");
    }

    #[test]
    fn what_was_held_up_is_caught_up_without_a_burst() {
        // Nothing from the second second on, until the seventh.
        let turns = turns((0..1000).map(|n| n * PERIOD), |time| if time >= 2000 { 7000 } else { 0 });
        let (at, late) = turns[50];
        assert_eq!((at, late), (7000, 5000));
        let steps: Vec<u64> = turns[50..].windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(steps.iter().all(|step| *step >= 26), "{steps:?}");
        assert_eq!(turns.last(), Some(&(999 * 40, 0)), "it is caught up");
        // By the source's clock, whatever became of their arrival.
        assert!(turns.iter().zip(0..).all(|((at, late), n)| (at - late).abs_diff(n * 40) <= 1), "{turns:?}");
    }

    #[test]
    fn a_missed_segment_is_not_waited_out() {
        // Six seconds are missing after two, and the frames behind them are there already.
        let times = (0..100).map(|n| n * PERIOD + if n < 50 { 0 } else { 6000 });
        let turns = turns(times, |_| 0);
        assert_eq!((turns[49], turns[50], turns[99]), ((1960, 0), (1960, 0), (1960 + 49 * 40, 0)));
    }

    #[test]
    fn a_clock_that_is_set_begins_anew() {
        let turns = turns([0, 40, 500_000, 500_040, 100, 140], |_| 0);
        assert_eq!(turns, [(0, 0), (40, 0), (40, 0), (80, 0), (80, 0), (120, 0)]);
    }
}
