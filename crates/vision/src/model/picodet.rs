//! PicoDet: boxes of many classes, from grids with cells of 8, 16, 32 and 64 pixels.
//!
//! Each grid has an output with one score per class, which is already a probability, and one with the distances from the centre
//! of the cell to the four sides of the box. A distance is a distribution over 0 to 7 cells; its mean is the distance. The
//! image is stretched to the input. Formulas: PaddleDetection 2.3, `ppdet/modeling/heads/pico_head.py` and `gfl_head.py`.

use super::DetectError;
use super::head::{Head, Outputs};
use super::nms::Candidate;
use super::prepare::{Channels, Normalisation, Size};

/// Side of a cell in pixels, and the outputs of its grid: class scores, distances.
const GRIDS: [(u32, [&str; 2]); 4] = [
    (8, ["save_infer_model/scale_0.tmp_1", "save_infer_model/scale_4.tmp_1"]),
    (16, ["save_infer_model/scale_1.tmp_1", "save_infer_model/scale_5.tmp_1"]),
    (32, ["save_infer_model/scale_2.tmp_1", "save_infer_model/scale_6.tmp_1"]),
    (64, ["save_infer_model/scale_3.tmp_1", "save_infer_model/scale_7.tmp_1"]),
];

/// Numbers of the distribution of one distance.
const BINS: usize = 8;
/// Left, top, right, bottom.
const SIDES: usize = 4;

/// Decodes the output of PicoDet.
pub struct PicoDet {
    /// Number of classes.
    pub classes: usize,
}

impl Head for PicoDet {
    fn channels(&self) -> Channels {
        Channels::Rgb
    }

    fn normalisation(&self) -> Option<Normalisation> {
        Some(Normalisation::IMAGENET)
    }

    fn keeps_proportions(&self) -> bool {
        false
    }

    fn input_multiple(&self) -> u32 {
        32
    }

    fn outputs(&self) -> &'static [&'static str] {
        &[
            "save_infer_model/scale_0.tmp_1",
            "save_infer_model/scale_1.tmp_1",
            "save_infer_model/scale_2.tmp_1",
            "save_infer_model/scale_3.tmp_1",
            "save_infer_model/scale_4.tmp_1",
            "save_infer_model/scale_5.tmp_1",
            "save_infer_model/scale_6.tmp_1",
            "save_infer_model/scale_7.tmp_1",
        ]
    }

    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        input: Size,
        threshold: f32,
    ) -> Result<Vec<Candidate>, DetectError> {
        let mut found = Vec::new();
        for (cell, [scores, distances]) in GRIDS {
            let columns = input.width.div_ceil(cell) as usize;
            let cells = columns * input.height.div_ceil(cell) as usize;
            let scores = outputs.item(scores, item, &[cells, self.classes])?.chunks_exact(self.classes);
            let distances = outputs.item(distances, item, &[cells, SIDES * BINS])?.chunks_exact(SIDES * BINS);
            for (index, (scores, distances)) in scores.zip(distances).enumerate() {
                let best = scores.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
                if let Some((class, &score)) = best.filter(|(_, score)| **score >= threshold) {
                    let centre = ((index % columns) as f32 + 0.5, (index / columns) as f32 + 0.5);
                    found.push(candidate(class, score, centre, distances, cell as f32));
                }
            }
        }
        Ok(found)
    }
}

/// The candidate of a cell whose centre is given in cells.
fn candidate(class: usize, score: f32, (x, y): (f32, f32), distances: &[f32], cell: f32) -> Candidate {
    let distance = |side: usize| mean(&distances[side * BINS..][..BINS]);
    Candidate {
        class,
        score,
        left: (x - distance(0)) * cell,
        top: (y - distance(1)) * cell,
        right: (x + distance(2)) * cell,
        bottom: (y + distance(3)) * cell,
        landmarks: Vec::new(),
    }
}

/// The mean of a distribution over 0, 1, 2, …, given as logarithms up to a constant.
fn mean(logarithms: &[f32]) -> f32 {
    // Without the largest one subtracted, large numbers would overflow.
    let largest = logarithms.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (number, logarithm) in logarithms.iter().enumerate() {
        let weight = (logarithm - largest).exp();
        sum += weight;
        weighted += weight * number as f32;
    }
    weighted / sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: Size = Size { width: 80, height: 64 };

    /// Outputs for three classes with one object: column 1, row 2 of the grid of 16-pixel cells, in batch item 1.
    fn one_object(score: f32) -> Vec<(&'static str, Vec<i64>, Vec<f32>)> {
        let mut tensors = Vec::new();
        for (cell, names) in GRIDS {
            let cells = (INPUT.width.div_ceil(cell) * INPUT.height.div_ceil(cell)) as usize;
            for (name, width) in names.into_iter().zip([3, SIDES * BINS]) {
                tensors.push((name, vec![2, cells as i64, width as i64], vec![0.0; 2 * cells * width]));
            }
        }
        let cell = 5 * 4 + 2 * 5 + 1;
        tensors[2].2[cell * 3 + 2] = score;
        // Distances of 0, 1, 3 and 6.5 cells.
        for (side, bins) in [(0, &[0][..]), (1, &[1]), (2, &[3]), (3, &[6, 7])] {
            for bin in bins {
                tensors[3].2[(cell * SIDES + side) * BINS + bin] = 100.0;
            }
        }
        tensors
    }

    fn read(tensors: &[(&'static str, Vec<i64>, Vec<f32>)], item: usize) -> Result<Vec<Candidate>, DetectError> {
        let mut outputs = Outputs::default();
        for (name, shape, numbers) in tensors {
            outputs.push(name, shape, numbers);
        }
        PicoDet { classes: 3 }.candidates(&outputs, item, INPUT, 0.4)
    }

    #[test]
    fn the_sides_of_a_box_are_at_the_mean_of_their_distributions() {
        let tensors = one_object(0.75);
        assert_eq!(read(&tensors, 0).unwrap(), []);
        let found = read(&tensors, 1).unwrap();
        let [object] = found.as_slice() else { panic!("one object, not {found:?}") };
        assert_eq!((object.class, object.score, object.landmarks.len()), (2, 0.75, 0));
        let edges = [object.left, object.top, object.right, object.bottom];
        for (edge, expected) in edges.into_iter().zip([24.0, 24.0, 72.0, 144.0]) {
            assert!((edge - expected).abs() < 1e-3, "{edges:?}");
        }
    }

    #[test]
    fn low_and_nan_scores_are_dropped_and_another_shape_is_an_error() {
        assert_eq!(read(&one_object(0.39), 1).unwrap(), []);
        assert_eq!(read(&one_object(f32::NAN), 1).unwrap(), []);
        let mut tensors = one_object(0.75);
        tensors[7].1 = vec![2, 1, 32];
        assert!(matches!(read(&tensors, 1), Err(DetectError::Inference(_))));
    }
}
