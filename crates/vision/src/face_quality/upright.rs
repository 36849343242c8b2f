//! Whether a face is upright in its image. Detectors also find faces that lie or stand on their head, but with landmarks that are not theirs,
//! so neither the figures nor the embedding of such a face mean anything.
//!
//! A crop of the face is turned, and the detector looks at each: it is surest of the upright one. Measurements: docs/FACES.md.

use contracts::{Detection, Point};

use super::FaceFault;
use crate::model::align::{Alignment, Template};
use crate::model::prepare::{Channels, Size};
use crate::pixels::Pixels;

/// Width and height of a crop.
const SIDE: u32 = 160;
/// The longer side of the face's box in it.
const FACE: f64 = 64.0;
/// Turns of a crop: none, and by 90°, 180° and 270° clockwise.
pub const TURNS: usize = 4;

/// The crops of a face in the order of [`TURNS`]. `None` if it has no box.
pub fn turned_crops(pixels: &Pixels, face: &Detection) -> Option<[Pixels; TURNS]> {
    let bounds = face.bounds.filter(contracts::BoundingBox::is_valid)?;
    let (x, y) = (bounds.x + bounds.width / 2.0, bounds.y + bounds.height / 2.0);
    let reach = bounds.width.max(bounds.height) / 2.0;
    // The middle and the corners of a square.
    let places = [(0.0, 0.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)];
    let square = places.map(|(right, down)| Point { x: x + right * reach, y: y + down * reach });
    let middle = f64::from(SIDE) / 2.0;
    let target: Template = places.map(|(right, down)| (middle + right * FACE / 2.0, middle + down * FACE / 2.0));
    let crop = crop(pixels, &Alignment::of(&square, &target)?)?;
    let last = SIDE as usize - 1;
    let turned = |source: fn(usize, usize, usize) -> (usize, usize)| {
        crop.rearranged(SIDE, SIDE, |column, row| source(column, row, last))
    };
    Some([
        turned(|column, row, _| (column, row)),
        turned(|column, row, last| (row, last - column)),
        turned(|column, row, last| (last - column, last - row)),
        turned(|column, row, last| (last - row, column)),
    ])
}

fn crop(pixels: &Pixels, alignment: &Alignment) -> Option<Pixels> {
    let size = Size { width: SIDE, height: SIDE };
    let mut planes = vec![0.0; size.planes()];
    alignment.fill(pixels, size, Channels::Rgb, &mut planes);
    let plane = (SIDE * SIDE) as usize;
    let levels = |index: usize| [planes[index], planes[plane + index], planes[2 * plane + index]];
    let rgb = (0..plane).flat_map(levels).map(|level| level.round() as u8).collect();
    Pixels::from_rgb(SIDE, SIDE, rgb)
}

/// The fault of a face, if the detector is surer of a turned crop than of the one that is not turned. `confidences` are those of the surest
/// face in each crop, 0 where none is found.
pub fn upright_fault(confidences: [f64; TURNS]) -> Option<FaceFault> {
    let surest = |best: usize, turn: usize| if confidences[turn] > confidences[best] { turn } else { best };
    match (0..TURNS).fold(0, surest) {
        0 => None,
        turn => Some(FaceFault::NotUpright { degrees: 90 * turn as u16 }),
    }
}

#[cfg(test)]
mod tests {
    use contracts::{Attributes, BoundingBox};

    use super::*;

    fn face(bounds: BoundingBox) -> Detection {
        Detection {
            label: "face".to_owned(),
            confidence: 0.9,
            bounds: Some(bounds),
            landmarks: Vec::new(),
            attributes: Attributes::default(),
        }
    }

    #[test]
    fn a_crop_has_the_face_in_its_middle_and_is_turned_clockwise() {
        // The upper half of the face is red, the lower half is blue; around it is green.
        let colour = |x: u32, y: u32| match (x, y) {
            (100..140, 40..60) => [255, 0, 0],
            (100..140, 60..80) => [0, 0, 255],
            _ => [0, 255, 0],
        };
        let rgb = (0..120).flat_map(|y| (0..200).flat_map(move |x| colour(x, y))).collect();
        let pixels = Pixels::from_rgb(200, 120, rgb).unwrap();
        let crops = turned_crops(&pixels, &face(BoundingBox { x: 100.0, y: 40.0, width: 40.0, height: 40.0 })).unwrap();
        let at = |crop: &Pixels, x: usize, y: usize| {
            let start = (y * SIDE as usize + x) * 3;
            <[u8; 3]>::try_from(&crop.rgb()[start..start + 3]).unwrap()
        };
        let (red, blue, green) = ([255, 0, 0], [0, 0, 255], [0, 255, 0]);
        // Above, right, below and left of the middle.
        let around = |crop: &Pixels| [(80, 60), (100, 80), (80, 100), (60, 80)].map(|(x, y)| at(crop, x, y));
        let [upright, right, over, left] = &crops;
        assert_eq!((around(upright)[0], around(upright)[2]), (red, blue));
        assert_eq!((around(right)[1], around(right)[3]), (red, blue));
        assert_eq!((around(over)[2], around(over)[0]), (red, blue));
        assert_eq!((around(left)[3], around(left)[1]), (red, blue));
        for crop in &crops {
            assert_eq!((crop.width(), crop.height(), at(crop, 40, 80)), (SIDE, SIDE, green));
        }
    }

    #[test]
    fn a_face_without_a_usable_box_has_no_crops() {
        let pixels = Pixels::from_rgb(8, 8, vec![0; 8 * 8 * 3]).unwrap();
        for (x, width) in [(f64::NAN, 4.0), (0.0, 0.0), (0.0, f64::INFINITY)] {
            assert!(turned_crops(&pixels, &face(BoundingBox { x, y: 0.0, width, height: width })).is_none());
        }
        assert!(
            turned_crops(
                &pixels,
                &Detection { bounds: None, ..face(BoundingBox { x: 0.0, y: 0.0, width: 4.0, height: 4.0 }) }
            )
            .is_none()
        );
    }

    #[test]
    fn only_a_surer_turn_is_a_fault() {
        assert_eq!(upright_fault([0.9, 0.8, 0.7, 0.0]), None);
        assert_eq!(upright_fault([0.0; 4]), None);
        assert_eq!(upright_fault([0.8; 4]), None);
        for (turn, degrees) in [(1, 90), (2, 180), (3, 270)] {
            let mut confidences = [0.7; 4];
            confidences[turn] = 0.9;
            assert_eq!(upright_fault(confidences), Some(FaceFault::NotUpright { degrees }));
        }
    }
}
