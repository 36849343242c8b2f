//! Order statistics of measurements.

use std::time::Duration;

/// Times, sorted.
#[derive(Debug, Default)]
pub struct Times {
    sorted: Vec<Duration>,
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut sorted: Vec<Duration> = times.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }
}

impl Times {
    /// The percentile `share` (0 to 1) in milliseconds, by nearest rank; 0 without times.
    pub fn ms(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

/// Minimum, median and maximum over several rounds.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Minimum.
    pub min: f64,
    /// Median; the mean of the middle two for an even number.
    pub median: f64,
    /// Maximum.
    pub max: f64,
}

impl Spread {
    /// All zero without values.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self { min: at(0), median, max: at(sorted.len().saturating_sub(1)) }
    }
}

/// The area under the ROC curve: the share of pairs in which the first time is longer. 0.5 when the two sets do not differ.
pub fn area_under_the_curve(first: &[Duration], second: &[Duration]) -> f64 {
    let longer = |a: &Duration, b: &Duration| if a == b { 0.5 } else { f64::from(u8::from(a > b)) };
    let all: f64 = first.iter().map(|a| second.iter().map(|b| longer(a, b)).sum::<f64>()).sum();
    all / (first.len() * second.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest_ones() {
        let times: Times = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!((times.ms(0.5), times.ms(0.99), times.ms(1.0)), (50.0, 99.0, 100.0));
        assert_eq!(Times::default().ms(0.99), 0.0);
    }

    #[test]
    fn the_median_of_two_is_their_mean() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 10.0));
        assert_eq!(Spread::of(&[7.0]).median, 7.0);
    }

    #[test]
    fn equal_sets_have_an_area_of_one_half() {
        let of = |ms: &[u64]| ms.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
        let area = |first: &[u64], second: &[u64]| area_under_the_curve(&of(first), &of(second));
        assert_eq!(area(&[1, 2, 3], &[1, 2, 3]), 0.5);
        assert_eq!((area(&[4, 5], &[1, 2, 3]), area(&[1, 2, 3], &[4, 5])), (1.0, 0.0));
        assert_eq!(area(&[2], &[1, 2, 3, 4]), 0.375);
    }
}
