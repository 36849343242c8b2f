//! Which frames are sent with `fps`: by their times, so that a variable rate does not matter.

use jiff::SignedDuration;

/// Share of a period by which a frame may come early. Times are rounded to the units of the stream's clock.
const EARLY: f64 = 0.02;

/// Time, in seconds, of frames that may come at once from a live source: what a network holds back arrives together.
const BURST: f64 = 2.0;

/// Chooses at most one frame in each period. The periods begin at zero of the stream's clock, so a part of a file has the same frames
/// as the whole.
#[derive(Debug)]
pub struct Pace {
    fps: Option<f64>,
    last: Option<f64>,
    bound: Option<Bound>,
}

/// How many frames of a live source may be sent now, by our clock: the clock of a camera may run as fast as it likes.
#[derive(Debug)]
struct Bound {
    frames: f64,
    at: SignedDuration,
}

impl Pace {
    /// At most `fps` frames a second; `None` for all.
    pub const fn new(fps: Option<f64>) -> Self {
        Self { fps, last: None, bound: None }
    }

    /// The same for a live source.
    pub fn live(fps: Option<f64>) -> Self {
        let bound = fps.map(|fps| Bound { frames: 1.0 + BURST * fps, at: SignedDuration::ZERO });
        Self { bound, ..Self::new(fps) }
    }

    /// Whether the frame at this time is sent. `arrival` is the time of our own clock, from any beginning, for a live source.
    pub fn is_due(&mut self, time: SignedDuration, arrival: SignedDuration) -> bool {
        let Some(fps) = self.fps else { return true };
        let period = (time.as_secs_f64() * fps + EARLY).floor();
        // A clock that was set back begins a new count.
        let is_due = self.last.is_none_or(|last| period > last || period < last - 1.0)
            && self.bound.as_mut().is_none_or(|bound| bound.allows(fps, arrival));
        if is_due {
            self.last = Some(period);
        }
        is_due
    }
}

impl Bound {
    fn allows(&mut self, fps: f64, arrival: SignedDuration) -> bool {
        let since = arrival.saturating_sub(self.at).as_secs_f64().max(0.0);
        self.at = arrival;
        self.frames = (self.frames + since * fps).min(1.0 + BURST * fps);
        let allows = self.frames >= 1.0;
        if allows {
            self.frames -= 1.0;
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(fps: f64, times: impl IntoIterator<Item = f64>) -> usize {
        let mut pace = Pace::new(Some(fps));
        times.into_iter().filter(|time| pace.is_due(SignedDuration::from_secs_f64(*time), SignedDuration::ZERO)).count()
    }

    #[test]
    fn frames_are_chosen_by_time() {
        let steady = |rate: f64| (0..300).map(move |n| f64::from(n) / rate);
        assert_eq!(due(5.0, steady(30.0)), 50);
        assert_eq!(due(5.0, steady(29.97)), 50);
        assert_eq!(due(29.97, steady(29.97)), 300);
        // Thousandths of a second, as in Matroska.
        assert_eq!(due(30.0, (0..300).map(|n| (f64::from(n) / 30.0 * 1000.0).round() / 1000.0)), 300);
        // A variable rate: 100 frames in the first second, then one each second.
        let variable = (0..100).map(|n| f64::from(n) / 100.0).chain((1..10).map(f64::from));
        assert_eq!(due(2.0, variable), 2 + 9);
    }

    #[test]
    fn a_part_has_the_same_frames_as_the_whole() {
        let chosen = |start: i32| {
            let mut pace = Pace::new(Some(4.0));
            (start..300)
                .filter(move |n| pace.is_due(SignedDuration::from_millis(i64::from(*n) * 40), SignedDuration::ZERO))
                .collect::<Vec<_>>()
        };
        let (whole, part) = (chosen(0), chosen(100));
        assert_eq!(part[1..], whole[whole.len() - part.len() + 1..]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_frames() {
        assert_eq!(due(1.0, [100.0, 101.0, 0.0, 1.0, 2.0]), 5);
    }

    #[test]
    fn a_live_clock_that_runs_too_fast_sends_no_more() {
        let mut pace = Pace::live(Some(5.0));
        // 25 frames a second, on a clock that runs a hundred times too fast.
        let sent = (0..1500).filter(|n| pace.is_due(ms(n * 4000), ms(n * 40))).count();
        assert!((300..=311).contains(&sent), "{sent} in a minute, of which ten are a burst");
    }

    #[test]
    fn live_frames_that_a_network_held_back_are_sent() {
        let mut pace = Pace::live(Some(5.0));
        // Nothing arrives for two seconds, and then all at once.
        let arrival = |n: i64| if (250..300).contains(&n) { 300 * 40 } else { n * 40 };
        assert_eq!((0..500).filter(|n| pace.is_due(ms(n * 40), ms(arrival(*n)))).count(), 100);
    }

    fn ms(milliseconds: i64) -> SignedDuration {
        SignedDuration::from_millis(milliseconds)
    }
}
