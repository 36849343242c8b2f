//! Times of the frames of a file. One wrong time, or several recordings in one file, would else move all frames that follow. A gap is no
//! fault: a recorder that writes only what moves makes files full of them.

use jiff::SignedDuration;

/// Longest time from one frame to the next that is no jump, unless ten times the usual one is longer.
const LONGEST: SignedDuration = SignedDuration::from_secs(10);
const USUAL_TIMES: i32 = 10;
/// A frame may be before the last one by this many times the usual distance. It is only out of order.
const OUT_OF_ORDER: i32 = 2;

/// The times so far.
#[derive(Debug, Default)]
pub struct Timeline {
    /// What is added to the times of the file.
    shift: SignedDuration,
    last: Option<SignedDuration>,
    /// The last distance of two frames that was no jump.
    usual: Option<SignedDuration>,
}

impl Timeline {
    /// Whether a frame with this time does not follow the last one. The time of the frame after it says what it is.
    pub fn is_jump(&self, time: SignedDuration) -> bool {
        let Some(last) = self.last else { return false };
        let step = time.saturating_sub(last);
        step < -self.usual_times(OUT_OF_ORDER) || step > self.usual_times(USUAL_TIMES).max(LONGEST)
    }

    /// The time of a frame with this time in the file. `next` is the time of the frame after it, if this one is a jump.
    pub fn continuous(&mut self, time: SignedDuration, next: Option<SignedDuration>) -> SignedDuration {
        let (last, usual) = (self.last.unwrap_or(time), self.usual.unwrap_or_default());
        let step = time.saturating_sub(last);
        let time = if !self.is_jump(time) {
            self.usual = if step.is_positive() { Some(step) } else { self.usual };
            time
        } else if next.is_some_and(|next| !self.is_jump(next)) {
            // Only this frame has a wrong time.
            last.saturating_add(usual)
        } else {
            // Back: another recording, which follows the one before. Ahead: a gap.
            if step.is_negative() {
                self.shift = self.shift.saturating_add(usual.saturating_sub(step));
            }
            time
        };
        self.last = Some(time);
        time.saturating_add(self.shift)
    }

    fn usual_times(&self, count: i32) -> SignedDuration {
        self.usual.unwrap_or_default().checked_mul(count).unwrap_or(SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(given: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let given: Vec<SignedDuration> = given.into_iter().map(SignedDuration::from_millis).collect();
        let mut timeline = Timeline::default();
        let time = |(index, time): (usize, &SignedDuration)| {
            let next = given.get(index + 1).copied().filter(|_| timeline.is_jump(*time));
            i64::try_from(timeline.continuous(*time, next).as_millis()).unwrap()
        };
        given.iter().enumerate().map(time).collect()
    }

    #[test]
    fn a_wrong_time_or_another_recording_moves_no_frame_that_follows() {
        let steady: Vec<i64> = (0..60).map(|n| n * 40).collect();
        for wrong in [7_200_000, -7_200_000] {
            for place in [2, 5, 58] {
                let given = (0..60).map(|n| if n == place { wrong } else { n * 40 });
                assert_eq!(times(given), steady, "{wrong} at {place}");
            }
        }
        let second: Vec<i64> = times((0..60).map(|n| if n == 1 { 7_200_000 } else { n * 40 }));
        assert_eq!((second[0], second[1], &second[2..]), (0, 0, &steady[2..]), "the usual distance is not known yet");
        assert_eq!(times((0..60).map(|n| if n < 5 { n * 40 } else { n * 40 - 900_000 })), steady, "back");
        assert_eq!(times((0..60).map(|n| n % 20 * 40)), steady, "three recordings in one file");
    }

    #[test]
    fn gaps_and_slow_or_variable_rates_are_kept() {
        for given in [
            vec![0, 60_000, 120_000, 180_000],
            vec![0, 40, 80, 9_000, 9_040],
            vec![0, 40, 20, 80],
            vec![0, 0, 40],
            vec![0, 40, 80, 600_000, 600_040, 1_800_000, 1_800_040],
            vec![0, 40, 80, 600_000],
        ] {
            assert_eq!(times(given.clone()), given);
        }
    }
}
