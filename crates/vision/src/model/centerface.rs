//! CenterFace: faces with five landmarks, as peaks of a heatmap with cells of 4x4 pixels.
//!
//! Each cell has the score of a face centre, the logarithm of the face's height and width in cells, the offset of the centre
//! in the cell, and five landmarks in units of the box. In every pair, y comes before x. Formulas: CenterFace,
//! `prj-python/centerface.py`.
//!
//! The published code stretches an image to a multiple of 32. This code pads the image instead, so that faces keep their proportions.

use super::DetectError;
use super::head::{Head, Outputs};
use super::nms::Candidate;
use super::prepare::{Channels, Size};

/// Side of a cell in pixels.
const CELL: u32 = 4;
const LANDMARKS: usize = 5;

const HEATMAP: &str = "537";
const SCALE: &str = "538";
const OFFSET: &str = "539";
const POINTS: &str = "540";

/// Decodes the output of CenterFace.
pub struct CenterFace;

impl Head for CenterFace {
    fn channels(&self) -> Channels {
        Channels::Rgb
    }

    fn input_multiple(&self) -> u32 {
        32
    }

    fn outputs(&self) -> &'static [&'static str] {
        &[HEATMAP, SCALE, OFFSET, POINTS]
    }

    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        input: Size,
        threshold: f32,
    ) -> Result<Vec<Candidate>, DetectError> {
        let (columns, rows) = ((input.width / CELL) as usize, (input.height / CELL) as usize);
        let heatmap = outputs.item(HEATMAP, item, &[1, rows, columns])?;
        let scale = outputs.item(SCALE, item, &[2, rows, columns])?;
        let offset = outputs.item(OFFSET, item, &[2, rows, columns])?;
        let points = outputs.item(POINTS, item, &[2 * LANDMARKS, rows, columns])?;
        let cells = columns * rows;
        let faces = heatmap.iter().enumerate().filter(|(_, score)| **score >= threshold).map(|(index, &score)| {
            let plane = |numbers: &[f32], plane: usize| numbers[plane * cells + index];
            let cell = CELL as f32;
            let (height, width) = (plane(scale, 0).exp() * cell, plane(scale, 1).exp() * cell);
            let centre_y = ((index / columns) as f32 + plane(offset, 0) + 0.5) * cell;
            let centre_x = ((index % columns) as f32 + plane(offset, 1) + 0.5) * cell;
            let (left, top) = (centre_x - width / 2.0, centre_y - height / 2.0);
            let point = |number: usize| {
                (left + plane(points, 2 * number + 1) * width, top + plane(points, 2 * number) * height)
            };
            Candidate {
                class: 0,
                score,
                left,
                top,
                right: left + width,
                bottom: top + height,
                landmarks: (0..LANDMARKS).map(point).collect(),
            }
        });
        Ok(faces.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_a_face_in_pixels_of_the_input() {
        let cells = 16 * 8;
        let peak = 2 * 16 + 3;
        let mut heatmap = vec![f32::NAN; cells];
        let (mut scale, mut offset, mut points) = (vec![0.0; 2 * cells], vec![0.0; 2 * cells], vec![0.0; 10 * cells]);
        heatmap[peak] = 0.75;
        scale[peak] = 2.0_f32.ln();
        offset[cells + peak] = 0.25;
        points[2 * cells + peak] = 0.5;
        points[3 * cells + peak] = 1.0;
        let mut outputs = Outputs::default();
        for (name, planes, numbers) in
            [(HEATMAP, 1, &heatmap), (SCALE, 2, &scale), (OFFSET, 2, &offset), (POINTS, 10, &points)]
        {
            outputs.push(name, &[1, planes, 8, 16], numbers);
        }

        let faces = CenterFace.candidates(&outputs, 0, Size { width: 64, height: 32 }, 0.5).unwrap();

        let [face] = faces.as_slice() else { panic!("one face, not {faces:?}") };
        assert_eq!((face.score, face.left, face.top, face.right, face.bottom), (0.75, 13.0, 6.0, 17.0, 14.0));
        assert_eq!(face.landmarks[..2], [(13.0, 6.0), (17.0, 10.0)]);
        let other = Size { width: 64, height: 64 };
        assert!(matches!(CenterFace.candidates(&outputs, 0, other, 0.5), Err(DetectError::Inference(_))));
    }
}
