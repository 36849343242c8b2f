//! Capture times of a stream. They never go backwards, and two frames never have the same.

use jiff::{SignedDuration, Timestamp};

/// Difference between the stream's clock and ours after which the stream's clock is anchored anew.
const DRIFT: SignedDuration = SignedDuration::from_secs(1);
/// How far the last capture time of a live source may be ahead of ours.
const LONGEST_AHEAD: SignedDuration = SignedDuration::from_secs(10);
const MICROSECOND: SignedDuration = SignedDuration::from_micros(1);

/// Gives each frame its capture time.
#[derive(Debug)]
pub struct Clock {
    anchor: Anchor,
    last: Option<Timestamp>,
}

#[derive(Debug)]
enum Anchor {
    /// A recording: this time is zero of its clock.
    File(Timestamp),
    /// A live source: the arrival of a frame, and the time on its clock. `None` before the first frame.
    Live(Option<(Timestamp, SignedDuration)>),
}

impl Clock {
    /// The clock of a recording that begins at this time.
    pub const fn of_file(begins: Timestamp) -> Self {
        Self { anchor: Anchor::File(begins), last: None }
    }

    /// The clock of a live source, of which an earlier process had frames until `after`.
    pub const fn live(after: Option<Timestamp>) -> Self {
        Self { anchor: Anchor::Live(None), last: after }
    }

    /// A live source was connected again, and its clock may begin anew.
    pub const fn reconnected(&mut self) {
        if let Anchor::Live(anchor) = &mut self.anchor {
            *anchor = None;
        }
    }

    /// The capture time of a frame: `time` is that of the stream's clock, `arrival` when it was received.
    pub fn capture_time(&mut self, time: SignedDuration, arrival: Timestamp) -> Timestamp {
        let captured = match &mut self.anchor {
            Anchor::File(begins) => add(*begins, time),
            Anchor::Live(anchor) => {
                let expected = anchor.map(|(at, zero)| add(at, time.saturating_sub(zero)));
                match expected.filter(|expected| expected.duration_since(arrival).abs() < DRIFT) {
                    Some(expected) => expected,
                    None => {
                        *anchor = Some((arrival, time));
                        arrival
                    }
                }
            }
        };
        let captured = contracts::whole_microseconds(captured);
        let is_live = matches!(self.anchor, Anchor::Live(_));
        // Our clock was ahead and was set right. Else all frames would get this time until it has passed.
        let is_wrong = |last: &Timestamp| is_live && last.duration_since(arrival) > LONGEST_AHEAD;
        let last = self.last.filter(|last| !is_wrong(last));
        let captured = last.map_or(captured, |last| captured.max(add(last, MICROSECOND)));
        self.last = Some(captured);
        captured
    }
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
    }

    fn ms(milliseconds: i64) -> SignedDuration {
        SignedDuration::from_millis(milliseconds)
    }

    #[test]
    fn a_file_has_its_own_time_whenever_it_is_read() {
        let mut clock = Clock::of_file(at(0));
        assert_eq!([0, 40, 80].map(|time| clock.capture_time(ms(time), at(99_000))), [0, 40, 80].map(at));
    }

    #[test]
    fn late_arrivals_do_not_disturb_a_live_clock() {
        let mut clock = Clock::live(None);
        let arrivals = [(5000, 0), (5040, 300), (5080, 310), (5120, 120)];
        let times = arrivals.map(|(time, arrival)| clock.capture_time(ms(time), at(arrival)));
        assert_eq!(times, [0, 40, 80, 120].map(at));
    }

    #[test]
    fn a_clock_that_jumps_or_drifts_by_a_second_is_anchored_anew() {
        let mut clock = Clock::live(None);
        clock.capture_time(ms(5000), at(0));
        assert_eq!(clock.capture_time(ms(90_000), at(40)), at(40), "a jump");
        assert_eq!(clock.capture_time(ms(90_040), at(80)), at(80));
        // A clock that runs at half speed.
        let times: Vec<_> = (1..100).map(|n| clock.capture_time(ms(90_040 + n * 50), at(80 + n * 100))).collect();
        assert!(
            times.iter().enumerate().all(|(n, time)| {
                time.duration_since(at(80 + (i64::try_from(n).unwrap() + 1) * 100)).abs() <= DRIFT
            })
        );
    }

    #[test]
    fn capture_times_never_go_backwards() {
        let mut clock = Clock::live(None);
        let mut last = Timestamp::MIN;
        for (time, arrival) in [(5000, 1000), (0, 900), (0, 800), (60_000, 700), (40, 2000), (40, 2000)] {
            let captured = clock.capture_time(ms(time), at(arrival));
            assert!(captured > last, "{captured} after {last}");
            last = captured;
        }
        // Also not when the process of a source is started again within a second.
        let mut again = Clock::live(Some(last));
        assert!(again.capture_time(ms(0), at(1500)) > last);
        let mut file = Clock::of_file(at(0));
        assert_eq!(file.capture_time(ms(80), at(0)), at(80));
        assert!(file.capture_time(ms(40), at(0)) > at(80));
    }
}
