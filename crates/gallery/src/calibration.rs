//! Rates of false matches and similarities of each model, as measured.
//!
//! Callers state how often two strangers may be taken for the same person (the false-match rate, a share of comparisons), not
//! a cosine: a cosine means something else for each model. Between measured rates, the stricter one holds: with the threshold of the
//! next lower rate, no more false matches are promised than were measured. Interpolation over the logarithm of the rate
//! would promise too much, because real rates fall more slowly at first: by 7 to 8 % halfway. Nothing is extrapolated.

use std::sync::LazyLock;

use serde::Deserialize;

/// Rates that differ by this share or less are the same: quotients of rates are rounded.
const ROUNDING: f64 = 1e-9;

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
    /// This measured rate or lower.
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
        "{model} cannot promise {wanted} false matches for each stranger among {vectors} vectors: at its lowest measured rate, \
         {lowest:e}, up to {expected:.3} are expected; this holds up to {most} vectors"
    )]
    TooManyVectors {
        /// The model.
        model: String,
        /// The wanted number of false matches in a search.
        wanted: f64,
        /// Vectors of the gallery.
        vectors: u64,
        /// The lowest measured rate.
        lowest: f64,
        /// False matches that are expected at it.
        expected: f64,
        /// The most vectors with which the wish can be kept.
        most: u64,
    },
}

impl Calibration {
    /// The table of a model, if it was measured.
    pub fn of(model: &str) -> Option<&'static Self> {
        static MEASURED: LazyLock<Measured> = LazyLock::new(|| {
            #[expect(clippy::expect_used, reason = "the text is part of the program, and a test reads it")]
            serde_json::from_str(TABLES).expect("calibration.json has the form of `Measured`")
        });
        MEASURED.models.iter().find(|table| table.model == model)
    }

    /// The measured points, from the highest rate to the lowest.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// A similarity that strangers reach at this rate or less often.
    ///
    /// # Errors
    /// If the rate is outside the table.
    pub fn threshold_for(&self, rate: f64) -> Result<f32, CalibrationError> {
        self.at_rate(rate).map(|point| point.threshold)
    }

    /// The share of pairs of the same person that is found with the threshold for this rate.
    ///
    /// # Errors
    /// If the rate is outside the table.
    pub fn found_at(&self, rate: f64) -> Result<f64, CalibrationError> {
        self.at_rate(rate).map(|point| point.found)
    }

    /// How often strangers reach this similarity: at most at the rate of the highest measured threshold below it.
    pub fn rate_at(&self, similarity: f32) -> MatchRate {
        let measured = self.points.iter().rfind(|point| similarity >= point.threshold);
        measured.map_or(MatchRate::Above(self.highest()), |point| MatchRate::AtMost(point.rate))
    }

    /// The rate of a comparison at which one search over `vectors` is expected to make at most `wanted` false matches: the table's
    /// highest if that is strict enough. A subject with several vectors is compared several times, so vectors count.
    ///
    /// # Errors
    /// If the model cannot promise it for so many vectors.
    pub fn rate_for_search(&self, wanted: f64, vectors: u64) -> Result<f64, CalibrationError> {
        if !(wanted > 0.0 && wanted.is_finite()) {
            return Err(CalibrationError::NotANumber(wanted));
        }
        let rate = wanted / vectors.max(1) as f64;
        let lowest = self.lowest();
        // `wanted / vectors` may be below `lowest` by rounding alone.
        if rate < lowest * (1.0 - ROUNDING) {
            let expected = expected_false_matches(lowest, vectors);
            let most = (wanted / lowest * (1.0 + ROUNDING)) as u64;
            let model = self.model.clone();
            return Err(CalibrationError::TooManyVectors { model, wanted, vectors, lowest, expected, most });
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
        let stricter = self.points.iter().find(|point| point.rate <= rate * (1.0 + ROUNDING));
        stricter.copied().ok_or_else(|| CalibrationError::TooStrict { model: model(), rate, lowest })
    }
}

/// Bound of the false matches that a search over `vectors` makes on average if the face is none of them: a comparison with each
/// vector. Looks of one subject resemble each other, so there may be fewer, but no more.
pub fn expected_false_matches(rate: f64, vectors: u64) -> f64 {
    rate * vectors as f64
}

#[derive(Debug, Deserialize)]
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
    fn between_measured_rates_the_stricter_one_holds() {
        for point in reid().points() {
            assert_eq!(reid().threshold_for(point.rate), Ok(point.threshold));
            assert_eq!(reid().found_at(point.rate), Ok(point.found));
        }
        assert_eq!(reid().threshold_for(3e-4), Ok(0.431));
        assert_eq!(reid().threshold_for(9.99e-4), Ok(0.431));
        assert_eq!(reid().threshold_for(1e-3 * (1.0 - 1e-12)), Ok(0.352), "rounding");
        assert_eq!(reid().found_at(2e-5), Ok(0.883));
    }

    /// What scripts/face-calibration writes is what this crate reads, and rounding makes no threshold lower.
    #[test]
    fn the_script_writes_the_form_of_the_tables() {
        use std::io::Write;
        use std::process::{Command, Stdio};

        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/face_calibration_table.py");
        let mut python =
            Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let measured = r#"{"data": "pairs.txt", "models": [
            ["m", 128, [[1e-2, 0.2561, 0.9899], [1e-3, 0.3, 0.97]]],
            ["few", 2, [[1e-2, 0.1, 0.9]]]
        ]}"#;
        python.stdin.take().unwrap().write_all(measured.as_bytes()).unwrap();
        let written = python.wait_with_output().unwrap();
        assert!(written.status.success());
        let table: Measured = serde_json::from_slice(&written.stdout).unwrap();
        let [model] = &table.models[..] else { panic!("{table:?}") };
        assert_eq!((model.model.as_str(), model.dimensions), ("m", 128));
        let point = |rate, threshold, found| Point { rate, threshold, found };
        assert_eq!(model.points, [point(1e-2, 0.257, 0.989), point(1e-3, 0.3, 0.97)]);
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
    fn the_rate_of_a_similarity_is_never_too_low() {
        for point in reid().points() {
            assert_eq!(reid().rate_at(point.threshold), MatchRate::AtMost(point.rate));
            assert_eq!(reid().rate_at(point.threshold + 0.01), MatchRate::AtMost(point.rate));
        }
        assert_eq!(reid().rate_at(0.1), MatchRate::Above(1e-2));
        assert_eq!(reid().rate_at(0.99), MatchRate::AtMost(1e-5));
    }

    #[test]
    fn a_search_divides_its_false_matches_over_the_vectors() {
        assert!((expected_false_matches(1e-5, 100_000) - 1.0).abs() < 1e-12);
        assert!((reid().rate_for_search(0.1, 1_000).unwrap() / 1e-4 - 1.0).abs() < 1e-9);
        // Few vectors: the loosest measured rate is strict enough.
        assert_eq!(reid().rate_for_search(1.0, 3), Ok(1e-2));
        assert_eq!(reid().rate_for_search(1.0, 0), Ok(1e-2));
        // Exactly the limit.
        assert_eq!(reid().rate_for_search(0.01, 1_000), Ok(1e-5));
        let error = reid().rate_for_search(0.01, 100_000).unwrap_err();
        assert!(matches!(error, CalibrationError::TooManyVectors { most: 1_000, .. }), "{error:?}");
        assert!(error.to_string().contains("up to 1.000 are expected; this holds up to 1000 vectors"), "{error}");
        assert!(reid().rate_for_search(f64::NAN, 1).is_err());
        assert!(reid().rate_for_search(0.0, 1).is_err());
    }
}
