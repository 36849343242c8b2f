//! YOLOX: boxes of many classes, from grids with cells of 8, 16 and 32 pixels.
//!
//! The one output has a row per cell, grid after grid, each in row-major order. A row contains the box, the
//! objectness, and one score per class. The box is its centre as an offset in cells and the logarithm of its sides in
//! cells; objectness and class scores are already probabilities. The score of a candidate is objectness times its best
//! class. Formulas: Megvii YOLOX 0.1.1, `yolox/utils/demo_utils.py`, `demo_postprocess`.

use super::DetectError;
use super::head::{Head, Outputs};
use super::nms::Candidate;
use super::prepare::{Channels, Size};

/// Sides of the cells in pixels, in the order of the grids.
const CELLS: [u32; 3] = [8, 16, 32];

/// Numbers of a row before its class scores: centre x and y, width and height, objectness.
const BOX_NUMBERS: usize = 5;

const OUTPUT: &str = "output";

/// Decodes the output of YOLOX.
pub struct YoloX {
    /// Number of classes.
    pub classes: usize,
}

impl Head for YoloX {
    fn channels(&self) -> Channels {
        Channels::Bgr
    }

    fn padding(&self) -> f32 {
        114.0
    }

    fn input_multiple(&self) -> u32 {
        32
    }

    fn outputs(&self) -> &'static [&'static str] {
        &[OUTPUT]
    }

    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        input: Size,
        threshold: f32,
    ) -> Result<Vec<Candidate>, DetectError> {
        let grid = |cell: u32| ((input.width / cell) as usize, (input.height / cell) as usize);
        let cells: usize = CELLS.map(grid).iter().map(|(columns, rows)| columns * rows).sum();
        let row_length = BOX_NUMBERS + self.classes;
        let mut rows = outputs.item(OUTPUT, item, &[cells, row_length])?.chunks_exact(row_length);
        let mut found = Vec::new();
        for cell in CELLS {
            let (columns, lines) = grid(cell);
            for (index, row) in rows.by_ref().take(columns * lines).enumerate() {
                // The class scores are probabilities, so a low objectness alone excludes a row.
                if row[4] >= threshold {
                    let (column, line) = ((index % columns) as f32, (index / columns) as f32);
                    found.extend(candidate(row, column, line, cell as f32).filter(|found| found.score >= threshold));
                }
            }
        }
        Ok(found)
    }
}

fn candidate(row: &[f32], column: f32, line: f32, cell: f32) -> Option<Candidate> {
    let (numbers, classes) = row.split_at_checked(BOX_NUMBERS)?;
    let (class, best) = classes.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let (centre_x, centre_y) = ((column + numbers[0]) * cell, (line + numbers[1]) * cell);
    let (half_width, half_height) = (numbers[2].exp() * cell / 2.0, numbers[3].exp() * cell / 2.0);
    Some(Candidate {
        class,
        score: numbers[4] * best,
        left: centre_x - half_width,
        top: centre_y - half_height,
        right: centre_x + half_width,
        bottom: centre_y + half_height,
        landmarks: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: Size = Size { width: 64, height: 32 };
    /// Cells of 8, 16 and 32 pixels in [`INPUT`].
    const ROWS: usize = 32 + 8 + 2;

    /// Output for three classes with one object: column 1, row 1 of the grid of 16-pixel cells.
    fn one_object(objectness: f32, scores: [f32; 3]) -> Vec<f32> {
        let mut numbers = vec![0.0; ROWS * 8];
        let row = 32 + 4 + 1;
        numbers[row * 8..][..5].copy_from_slice(&[0.5, 0.25, 0.0, 2.0_f32.ln(), objectness]);
        numbers[row * 8 + 5..][..3].copy_from_slice(&scores);
        numbers
    }

    fn candidates(numbers: &[f32], shape: &[i64]) -> Result<Vec<Candidate>, DetectError> {
        let mut outputs = Outputs::default();
        outputs.push(OUTPUT, shape, numbers);
        YoloX { classes: 3 }.candidates(&outputs, 0, INPUT, 0.3)
    }

    #[test]
    fn a_row_is_a_box_of_its_best_class_in_pixels_of_the_input() {
        let found = candidates(&one_object(0.8, [0.1, 0.0, 0.5]), &[1, ROWS as i64, 8]).unwrap();
        let [object] = found.as_slice() else { panic!("one object, not {found:?}") };
        assert_eq!((object.class, object.landmarks.len()), (2, 0));
        assert!((object.score - 0.4).abs() < 1e-6);
        let edges = [object.left, object.top, object.right, object.bottom];
        for (edge, expected) in edges.into_iter().zip([16.0, 4.0, 32.0, 36.0]) {
            assert!((edge - expected).abs() < 1e-3, "{edges:?}");
        }
    }

    #[test]
    fn objectness_times_class_must_reach_the_threshold() {
        let shape = [1, ROWS as i64, 8];
        assert_eq!(candidates(&one_object(0.8, [0.3, 0.3, 0.3]), &shape).unwrap(), []);
        assert_eq!(candidates(&one_object(f32::NAN, [1.0; 3]), &shape).unwrap(), []);
    }

    #[test]
    fn an_output_of_another_number_of_classes_is_an_error() {
        let numbers = vec![0.0; ROWS * 9];
        assert!(matches!(candidates(&numbers, &[1, ROWS as i64, 9]), Err(DetectError::Inference(_))));
    }
}
