//! YuNet: faces with five landmarks, from grids with cells of 8, 16 and 32 pixels.
//!
//! Each cell has a class score and an objectness: the score is the square root of their product. It has a box, as the offset of
//! its centre and the logarithm of its sides, and five landmarks, all in units of the cell's side. Formulas:
//! libfacedetection.train, `mmdet/models/dense_heads/yunet_head.py`.

use super::DetectError;
use super::head::{Head, Outputs};
use super::nms::Candidate;
use super::prepare::{Channels, Size};

/// Side of a cell in pixels, and the outputs of its grid: class, objectness, box, landmarks.
const GRIDS: [(u32, [&str; 4]); 3] = [
    (8, ["cls_8", "obj_8", "bbox_8", "kps_8"]),
    (16, ["cls_16", "obj_16", "bbox_16", "kps_16"]),
    (32, ["cls_32", "obj_32", "bbox_32", "kps_32"]),
];

const LANDMARKS: usize = 5;

/// Decodes the output of YuNet.
pub struct YuNet;

impl Head for YuNet {
    fn channels(&self) -> Channels {
        Channels::Bgr
    }

    fn input_multiple(&self) -> u32 {
        32
    }

    fn outputs(&self) -> &'static [&'static str] {
        &[
            "cls_8", "obj_8", "bbox_8", "kps_8", "cls_16", "obj_16", "bbox_16", "kps_16", "cls_32", "obj_32",
            "bbox_32", "kps_32",
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
        for (cell, [class, objectness, bounds, points]) in GRIDS {
            let columns = (input.width / cell) as usize;
            let cells = columns * (input.height / cell) as usize;
            let class = outputs.item(class, item, &[cells, 1])?;
            let objectness = outputs.item(objectness, item, &[cells, 1])?;
            let bounds = outputs.item(bounds, item, &[cells, 4])?;
            let points = outputs.item(points, item, &[cells, 2 * LANDMARKS])?;
            for index in 0..cells {
                let score = (class[index].clamp(0.0, 1.0) * objectness[index].clamp(0.0, 1.0)).sqrt();
                if score >= threshold {
                    let cell =
                        Cell { column: (index % columns) as f32, row: (index / columns) as f32, side: cell as f32 };
                    found.push(cell.candidate(score, &bounds[index * 4..], &points[index * 2 * LANDMARKS..]));
                }
            }
        }
        Ok(found)
    }
}

/// One cell of a grid.
struct Cell {
    column: f32,
    row: f32,
    /// In pixels.
    side: f32,
}

impl Cell {
    fn candidate(&self, score: f32, bounds: &[f32], points: &[f32]) -> Candidate {
        let (centre_x, centre_y) = self.pixel(bounds[0], bounds[1]);
        let (half_width, half_height) = (bounds[2].exp() * self.side / 2.0, bounds[3].exp() * self.side / 2.0);
        Candidate {
            class: 0,
            score,
            left: centre_x - half_width,
            top: centre_y - half_height,
            right: centre_x + half_width,
            bottom: centre_y + half_height,
            landmarks: points[..2 * LANDMARKS].chunks_exact(2).map(|point| self.pixel(point[0], point[1])).collect(),
        }
    }

    fn pixel(&self, x: f32, y: f32) -> (f32, f32) {
        ((self.column + x) * self.side, (self.row + y) * self.side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs for an input of 64x32 pixels with one face: column 1, row 1 of the 16-pixel grid, in batch item 1.
    fn one_face(score: f32) -> Vec<(&'static str, Vec<i64>, Vec<f32>)> {
        let mut tensors = Vec::new();
        for (cell, names) in GRIDS {
            let cells = (64 / cell * 32 / cell) as usize;
            for (name, width) in names.into_iter().zip([1, 1, 4, 10]) {
                tensors.push((name, vec![2, cells as i64, width as i64], vec![0.0; 2 * cells * width]));
            }
        }
        let cell = 8 + 4 + 1;
        for (name, _, numbers) in &mut tensors {
            match *name {
                "cls_16" => numbers[cell] = score,
                "obj_16" => numbers[cell] = 0.81,
                "bbox_16" => numbers[cell * 4..][..4].copy_from_slice(&[0.5, 0.25, 0.0, 2.0_f32.ln()]),
                "kps_16" => numbers[cell * 10..][..2].copy_from_slice(&[0.125, -0.5]),
                _ => {}
            }
        }
        tensors
    }

    fn read(tensors: &[(&'static str, Vec<i64>, Vec<f32>)], item: usize) -> Result<Vec<Candidate>, DetectError> {
        let mut outputs = Outputs::default();
        for (name, shape, numbers) in tensors {
            outputs.push(name, shape, numbers);
        }
        YuNet.candidates(&outputs, item, Size { width: 64, height: 32 }, 0.6)
    }

    #[test]
    fn box_and_landmarks_of_a_cell_are_in_input_pixels() {
        let tensors = one_face(1.0);
        assert_eq!(read(&tensors, 0).unwrap(), []);
        let faces = read(&tensors, 1).unwrap();
        let [face] = faces.as_slice() else { panic!("one face, not {faces:?}") };
        assert!((face.score - 0.9).abs() < 1e-6);
        let edges = [face.left, face.top, face.right, face.bottom];
        for (edge, expected) in edges.into_iter().zip([16.0, 4.0, 32.0, 36.0]) {
            assert!((edge - expected).abs() < 1e-3, "{edges:?}");
        }
        assert_eq!((face.landmarks.len(), face.landmarks[0]), (5, (18.0, 8.0)));
    }

    #[test]
    fn nan_scores_are_dropped_and_another_shape_is_an_error() {
        assert_eq!(read(&one_face(f32::NAN), 1).unwrap(), []);
        let mut tensors = one_face(1.0);
        tensors[5].1 = vec![2, 4, 2];
        assert!(matches!(read(&tensors, 1), Err(DetectError::Inference(_))));
    }
}
