//! Times of the frames of a file that go on without a jump: a wrong time of one frame, or several recordings in one file, would else move
//! all frames that follow.

use jiff::SignedDuration;

/// Longest time from one frame to the next, unless ten times the usual one is longer.
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
    /// The time of a frame with this time in the file. After a jump, it is later than the last one by the usual distance.
    pub fn continuous(&mut self, time: SignedDuration) -> SignedDuration {
        if let Some(last) = self.last.replace(time) {
            let step = time.saturating_sub(last);
            let usual = self.usual.unwrap_or(SignedDuration::ZERO);
            let times = |count: i32| usual.checked_mul(count).unwrap_or(SignedDuration::MAX);
            let is_jump = step < -times(OUT_OF_ORDER) || self.usual.is_some() && step > times(USUAL_TIMES).max(LONGEST);
            if is_jump {
                self.shift = self.shift.saturating_add(usual.saturating_sub(step));
            } else if step.is_positive() {
                self.usual = Some(step);
            }
        }
        time.saturating_add(self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(given: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut timeline = Timeline::default();
        let time = |time| i64::try_from(timeline.continuous(SignedDuration::from_millis(time)).as_millis()).unwrap();
        given.into_iter().map(time).collect()
    }

    #[test]
    fn a_jump_moves_no_frame_that_follows() {
        let steady: Vec<i64> = (0..60).map(|n| n * 40).collect();
        let one_wrong = (0..60).map(|n| if n == 5 { 7_200_000 } else { n * 40 });
        assert_eq!(times(one_wrong), steady);
        assert_eq!(times((0..60).map(|n| if n < 5 { n * 40 } else { n * 40 - 900_000 })), steady, "back");
        assert_eq!(times((0..60).map(|n| n % 20 * 40)), steady, "three recordings in one file");
    }

    #[test]
    fn a_slow_or_variable_rate_is_no_jump() {
        for given in
            [vec![0, 60_000, 120_000, 180_000], vec![0, 40, 80, 9_000, 9_040], vec![0, 40, 20, 80], vec![0, 0, 40]]
        {
            assert_eq!(times(given.clone()), given);
        }
    }
}
