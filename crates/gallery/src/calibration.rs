//! Rates of false matches and similarities of each model, as measured.
//!
//! Callers state how often two strangers may be taken for the same person (the false-match rate, a share of comparisons), not
//! a cosine: a cosine means something else for each model. Between the measured rates, the threshold is interpolated over the
//! logarithm of the rate. Nothing is extrapolated: what was not measured cannot be promised.

use std::sync::LazyLock;

use serde::Deserialize;

/// The measured tables, with the description of the data.
const TABLES: &str = include_str!("calibration.json");

/// A measured point.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// False-match rate: the share of pairs of strangers with at least this similarity.
    pub rate: f64,
    /// The similarity (cosine).
    pub threshold: f32,
    /// The share of pairs of the same person with at least this similarity.
    pub found: f64,
}

/// What was measured of a model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Name of the model.
    pub model: String,
    /// Numbers of its embeddings.
    pub dimensions: usize,
    /// At least two points; rates fall and thresholds rise.
    points: Vec<Point>,
}

/// A false-match rate, as far as the table reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MatchRate {
    /// Higher than this, the highest measured rate.
    Above(f64),
    /// Between measured rates.
    Near(f64),
    /// This, the lowest measured rate, or lower.
    AtMost(f64),
}

/// What a model cannot promise.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// The rate is not a number above 0 and up to 1.
    #[error("a false-match rate is a number above 0 and at most 1, not {0}")]
    NotARate(f64),
    /// The number of false matches in a search is not a number above 0.
    #[error("an expected number of false matches is above 0, not {0}")]
    NotANumber(f64),
    /// Lower than any measured rate.
    #[error("{model} cannot promise a false-match rate of {rate:e}: the lowest that was measured is {lowest:e}")]
    TooStrict {
        /// The model.
        model: String,
        /// The wanted rate.
        rate: f64,
        /// The lowest measured one.
        lowest: f64,
    },
    /// Higher than any measured rate.
    #[error("the highest measured false-match rate of {model} is {highest:e}, so there is no threshold for {rate:e}")]
    TooLoose {
        /// The model.
        model: String,
        /// The wanted rate.
        rate: f64,
        /// The highest measured one.
        highest: f64,
    },
    /// A gallery of this size gives more false matches in a search than wanted, at any measured threshold.
    #[error(
        "{model} cannot promise {wanted} false matches for each stranger among {subjects} subjects: at its lowest measured rate, \
         {lowest:e}, {expected:.3} are expected; this holds up to {most} subjects"
    )]
    TooManySubjects {
        /// The model.
        model: String,
        /// The wanted number of false matches in a search.
        wanted: f64,
        /// Subjects of the gallery.
        subjects: u64,
        /// The lowest measured rate.
        lowest: f64,
        /// False matches that are expected at it.
        expected: f64,
        /// The most subjects with which the wish can be kept.
        most: u64,
    },
}

impl Calibration {
    /// The table of a model, if it was measured.
    pub fn of(model: &str) -> Option<&'static Self> {
        static MEASURED: LazyLock<Measured> = LazyLock::new(|| {
            // A test reads the same text.
            serde_json::from_str(TABLES).unwrap_or_default()
        });
        MEASURED.models.iter().find(|table| table.model == model)
    }

    /// The measured points, from the highest rate to the lowest.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The similarity that strangers reach at this rate.
    ///
    /// # Errors
    /// If the rate is outside the table.
    pub fn threshold_for(&self, rate: f64) -> Result<f32, CalibrationError> {
        self.at_rate(rate).map(|point| point.threshold)
    }

    /// The share of pairs of the same person that is found at this rate.
    ///
    /// # Errors
    /// If the rate is outside the table.
    pub fn found_at(&self, rate: f64) -> Result<f64, CalibrationError> {
        self.at_rate(rate).map(|point| point.found)
    }

    /// How often strangers reach this similarity.
    pub fn rate_at(&self, similarity: f32) -> MatchRate {
        for pair in self.points.array_windows::<2>() {
            let [high, low] = pair;
            if similarity < high.threshold {
                return MatchRate::Above(high.rate);
            }
            if similarity < low.threshold {
                let share = f64::from((similarity - high.threshold) / (low.threshold - high.threshold));
                return MatchRate::Near((high.rate.ln() + share * (low.rate.ln() - high.rate.ln())).exp());
            }
        }
        MatchRate::AtMost(self.lowest())
    }

    /// The rate of a comparison at which one search over `subjects` is expected to make `wanted` false matches: the table's highest
    /// if that is strict enough.
    ///
    /// # Errors
    /// If the model cannot promise it for so many subjects.
    pub fn rate_for_search(&self, wanted: f64, subjects: u64) -> Result<f64, CalibrationError> {
        if !(wanted > 0.0 && wanted.is_finite()) {
            return Err(CalibrationError::NotANumber(wanted));
        }
        let rate = wanted / subjects.max(1) as f64;
        let lowest = self.lowest();
        // `wanted / subjects` may be below `lowest` by rounding alone.
        if rate < lowest * (1.0 - 1e-9) {
            let expected = expected_false_matches(lowest, subjects);
            let most = (wanted / lowest * (1.0 + 1e-9)) as u64;
            let model = self.model.clone();
            return Err(CalibrationError::TooManySubjects { model, wanted, subjects, lowest, expected, most });
        }
        Ok(rate.clamp(lowest, self.highest()))
    }

    /// The lowest measured rate.
    pub fn lowest(&self) -> f64 {
        self.points.last().map_or(1.0, |point| point.rate)
    }

    /// The highest measured rate.
    pub fn highest(&self) -> f64 {
        self.points.first().map_or(1.0, |point| point.rate)
    }

    fn at_rate(&self, rate: f64) -> Result<Point, CalibrationError> {
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(CalibrationError::NotARate(rate));
        }
        let (highest, lowest) = (self.highest(), self.lowest());
        let model = || self.model.clone();
        if rate > highest {
            return Err(CalibrationError::TooLoose { model: model(), rate, highest });
        }
        let between = self.points.array_windows::<2>().find(|[_, low]| rate >= low.rate);
        let Some([high, low]) = between else {
            return Err(CalibrationError::TooStrict { model: model(), rate, lowest });
        };
        let share = (rate.ln() - high.rate.ln()) / (low.rate.ln() - high.rate.ln());
        let threshold = f64::from(high.threshold) + share * f64::from(low.threshold - high.threshold);
        Ok(Point { rate, threshold: threshold as f32, found: high.found + share * (low.found - high.found) })
    }
}

/// False matches that a search over `subjects` makes on average if the face is none of them: one search is a comparison with each
/// subject. Several vectors of a subject make it somewhat more.
pub fn expected_false_matches(rate: f64, subjects: u64) -> f64 {
    rate * subjects as f64
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    #[serde(rename = "data")]
    _data: String,
    models: Vec<Calibration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reid() -> &'static Calibration {
        Calibration::of("face_reid_0095").unwrap()
    }

    #[test]
    fn every_table_is_complete_and_falls() {
        let measured: Measured = serde_json::from_str(TABLES).unwrap();
        assert_eq!(measured.models.len(), 2);
        assert!(!measured._data.is_empty());
        for table in &measured.models {
            assert!(table.points.len() >= 2 && table.dimensions <= crate::MAX_DIMENSIONS);
            for [high, low] in table.points.array_windows::<2>() {
                assert!(high.rate > low.rate && high.threshold < low.threshold && high.found > low.found);
            }
        }
        assert!(Calibration::of("arcface").is_none());
    }

    #[test]
    fn thresholds_are_interpolated_over_the_logarithm_of_the_rate() {
        let near = |rate: f64, threshold: f32| {
            let found = reid().threshold_for(rate).unwrap();
            assert!((found - threshold).abs() < 1e-5, "{rate}: {found}");
        };
        for point in reid().points() {
            near(point.rate, point.threshold);
            assert!((reid().found_at(point.rate).unwrap() - point.found).abs() < 1e-9);
        }
        // Halfway between 1e-3 and 1e-4 is 10^-3.5.
        near(10_f64.powf(-3.5), f32::midpoint(0.352, 0.431));
    }

    #[test]
    fn a_rate_that_was_not_measured_is_refused() {
        let error = reid().threshold_for(1e-6).unwrap_err();
        assert!(matches!(error, CalibrationError::TooStrict { .. }));
        assert!(error.to_string().contains("cannot promise a false-match rate of 1e-6"), "{error}");
        assert!(matches!(reid().threshold_for(0.5), Err(CalibrationError::TooLoose { .. })));
        for no_rate in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(matches!(reid().threshold_for(no_rate), Err(CalibrationError::NotARate(_))));
        }
    }

    #[test]
    fn the_rate_of_a_similarity_is_the_inverse() {
        for rate in [1e-2, 3e-3, 1e-3, 4e-4, 2e-5] {
            let MatchRate::Near(found) = reid().rate_at(reid().threshold_for(rate).unwrap() + 1e-7) else {
                panic!("outside the table at {rate}");
            };
            assert!((found / rate - 1.0).abs() < 1e-3, "{rate}: {found}");
        }
        assert_eq!(reid().rate_at(0.1), MatchRate::Above(1e-2));
        assert_eq!(reid().rate_at(0.505), MatchRate::AtMost(1e-5));
        assert_eq!(reid().rate_at(0.99), MatchRate::AtMost(1e-5));
    }

    #[test]
    fn a_search_divides_its_false_matches_over_the_subjects() {
        assert!((expected_false_matches(1e-5, 100_000) - 1.0).abs() < 1e-12);
        assert!((reid().rate_for_search(0.1, 1_000).unwrap() / 1e-4 - 1.0).abs() < 1e-9);
        // Few subjects: the loosest measured rate is strict enough.
        assert_eq!(reid().rate_for_search(1.0, 3), Ok(1e-2));
        assert_eq!(reid().rate_for_search(1.0, 0), Ok(1e-2));
        // Exactly the limit.
        assert_eq!(reid().rate_for_search(0.01, 1_000), Ok(1e-5));
        let error = reid().rate_for_search(0.01, 100_000).unwrap_err();
        assert!(matches!(error, CalibrationError::TooManySubjects { most: 1_000, .. }), "{error:?}");
        assert!(error.to_string().contains("1.000 are expected; this holds up to 1000 subjects"), "{error}");
        assert!(reid().rate_for_search(f64::NAN, 1).is_err());
        assert!(reid().rate_for_search(0.0, 1).is_err());
    }
}
