//! Light and sharpness of a face, measured on an aligned crop.
//!
//! The crop has a fixed size, so the figures do not depend on the size of the image. Its pixels are no smaller than those of the smallest
//! face that can be enrolled, so a small face does not look blurred. Only the part from the brows to the mouth is measured: hair and
//! background are sharp and bright in their own way. What is outside of the image is left out.

use std::f64::consts::FRAC_1_SQRT_2;
use std::ops::Range;

use crate::model::align::{Alignment, Template};
use crate::model::embedding::ARCFACE;
use crate::model::prepare::{Channels, Size};
use crate::pixels::Pixels;

/// Width and height of the crop; 20 pixels between the eyes.
const SIDE: usize = 64;
/// The part that is measured, at least one pixel away from the edges of the crop.
const COLUMNS: Range<usize> = 15..50;
const ROWS: Range<usize> = 20..60;
/// Luma of a colour (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
/// Least root mean square of the differences between neighbours: half a level. Below it there is no detail, only rounding.
const LEAST_SLOPE: f32 = 0.5 / 255.0;

/// The template to which [`Crop::of`] is aligned.
pub fn template() -> Template {
    ARCFACE.map(|(x, y)| (x * SIDE as f64 / 112.0, y * SIDE as f64 / 112.0))
}

/// An aligned face in grey.
pub struct Crop {
    /// From 0 to 1, row by row.
    luma: Vec<f32>,
    /// Which pixels are measured.
    measured: Vec<bool>,
}

impl Crop {
    /// The crop of a face that is aligned to [`template`]. `None` if less than half of the measured part is in the image.
    pub fn of(pixels: &Pixels, alignment: &Alignment) -> Option<Self> {
        let size = Size { width: SIDE as u32, height: SIDE as u32 };
        let mut planes = vec![0.0; size.planes()];
        alignment.fill(pixels, size, Channels::Rgb, &mut planes);
        let colours = [&planes[..SIDE * SIDE], &planes[SIDE * SIDE..2 * SIDE * SIDE], &planes[2 * SIDE * SIDE..]];
        let luma =
            |index: usize| colours.iter().zip(LUMA).map(|(plane, share)| plane[index] * share).sum::<f32>() / 255.0;
        let measured = |index: usize| {
            let (column, row) = (index % SIDE, index / SIDE);
            COLUMNS.contains(&column) && ROWS.contains(&row) && is_inside(pixels, alignment, column, row)
        };
        let crop =
            Self { luma: (0..SIDE * SIDE).map(luma).collect(), measured: (0..SIDE * SIDE).map(measured).collect() };
        (2 * crop.indices().count() >= COLUMNS.len() * ROWS.len()).then_some(crop)
    }

    fn indices(&self) -> impl Iterator<Item = usize> {
        self.measured.iter().enumerate().filter(|(_, measured)| **measured).map(|(index, _)| index)
    }

    /// Mean and standard deviation of the luma.
    pub fn brightness_and_contrast(&self) -> (f32, f32) {
        let count = self.indices().count() as f32;
        let mean = self.indices().map(|index| self.luma[index]).sum::<f32>() / count;
        let variance = self.indices().map(|index| (self.luma[index] - mean).powi(2)).sum::<f32>() / count;
        (mean, variance.sqrt())
    }

    /// Root mean square of the Laplacian, divided by that of the gradient. A quotient, so neither light nor contrast changes it.
    pub fn sharpness(&self) -> f32 {
        let (mut bends, mut slopes, mut count) = (0.0_f32, 0.0_f32, 0.0_f32);
        for index in self.indices() {
            let neighbours = [index + 1, index + SIDE, index - 1, index - SIDE];
            if !neighbours.iter().all(|neighbour| self.measured[*neighbour]) {
                continue;
            }
            let steps = neighbours.map(|neighbour| self.luma[neighbour] - self.luma[index]);
            bends += steps.iter().sum::<f32>().powi(2);
            slopes += steps[0].powi(2) + steps[1].powi(2);
            count += 1.0;
        }
        // Also false without any pixel, when both are 0.
        if slopes > LEAST_SLOPE * LEAST_SLOPE * count { (bends / slopes).sqrt() } else { 0.0 }
    }
}

/// Whether the whole area of a pixel of the crop is in the image, so that none of the black around it counts.
fn is_inside(pixels: &Pixels, alignment: &Alignment, column: usize, row: usize) -> bool {
    let (x, y) = alignment.source(column as f64, row as f64);
    // From the centre of the area to its corners.
    let reach = alignment.scale() * FRAC_1_SQRT_2;
    let (right, bottom) = (f64::from(pixels.width() - 1), f64::from(pixels.height() - 1));
    x >= reach && y >= reach && x + reach <= right && y + reach <= bottom
}

#[cfg(test)]
mod tests {
    use contracts::Point;

    use super::*;

    /// A grey image.
    fn image(side: usize, level: impl Fn(usize, usize) -> u8) -> Pixels {
        let rgb = (0..side * side).flat_map(|index| [level(index % side, index / side); 3]).collect();
        Pixels::from_rgb(side as u32, side as u32, rgb).unwrap()
    }

    fn checkerboard(column: usize, row: usize, cell: usize) -> u8 {
        if (column / cell + row / cell).is_multiple_of(2) { 60 } else { 200 }
    }

    /// The mean of the checkerboard over a square of `2 * reach + 1` pixels a side.
    fn blurred(column: usize, row: usize, cell: usize, reach: usize) -> u8 {
        let side = 2 * reach + 1;
        let levels =
            (0..side * side).map(|index| u32::from(checkerboard(column + index % side, row + index / side, cell)));
        (levels.sum::<u32>() / (side * side) as u32) as u8
    }

    /// The crop of a face that has `scale` pixels of the image for each of the crop, shifted by as many pixels to the right and down.
    fn crop(pixels: &Pixels, scale: f64, right: f64, down: f64) -> Option<Crop> {
        let landmarks = template().map(|(x, y)| Point { x: scale * x + right, y: scale * y + down });
        Crop::of(pixels, &Alignment::of(&landmarks, &template()).unwrap())
    }

    #[test]
    fn a_blurred_face_is_less_sharp_in_any_light() {
        let sharp = crop(&image(160, |x, y| checkerboard(x, y, 16)), 2.0, 16.0, 16.0).unwrap();
        let dim = crop(&image(160, |x, y| checkerboard(x, y, 16) / 2), 2.0, 16.0, 16.0).unwrap();
        let blurred = crop(&image(160, |x, y| blurred(x, y, 16, 6)), 2.0, 16.0, 16.0).unwrap();
        assert!(sharp.sharpness() > 1.2, "{}", sharp.sharpness());
        assert!((sharp.sharpness() - dim.sharpness()).abs() < 0.01, "{}", dim.sharpness());
        assert!(blurred.sharpness() < 0.75, "{}", blurred.sharpness());
        assert!(blurred.sharpness() > 0.3, "{}", blurred.sharpness());
    }

    #[test]
    fn the_size_of_the_image_does_not_matter() {
        let large = crop(&image(320, |x, y| checkerboard(x, y, 32)), 4.0, 32.0, 32.0).unwrap();
        let larger = crop(&image(640, |x, y| checkerboard(x, y, 64)), 8.0, 64.0, 64.0).unwrap();
        assert!((large.sharpness() - larger.sharpness()).abs() < 0.1, "{} {}", large.sharpness(), larger.sharpness());
        let [large, larger] = [large, larger].map(|crop| crop.brightness_and_contrast());
        assert!((large.0 - larger.0).abs() < 0.005 && (large.1 - larger.1).abs() < 0.01, "{large:?} {larger:?}");
    }

    #[test]
    fn brightness_and_contrast_are_those_of_the_luma() {
        let (brightness, contrast) = crop(&image(160, |_, row| if row < 80 { 51 } else { 102 }), 1.0, 40.0, 40.0)
            .unwrap()
            .brightness_and_contrast();
        // The measured rows of the image are 60 to 99.
        assert!((brightness - 0.3).abs() < 1e-3 && (contrast - 0.1).abs() < 1e-3, "{brightness} {contrast}");
        let green = Pixels::from_rgb(160, 160, [0, 255, 0].repeat(160 * 160)).unwrap();
        let (brightness, contrast) = crop(&green, 2.0, 16.0, 16.0).unwrap().brightness_and_contrast();
        assert!((brightness - 0.587).abs() < 1e-3 && contrast < 1e-3, "{brightness} {contrast}");
    }

    #[test]
    fn a_crop_without_detail_has_no_sharpness() {
        for level in [0, 77, 255] {
            assert_eq!(crop(&image(160, |_, _| level), 1.7, 21.3, 18.9).unwrap().sharpness(), 0.0, "{level}");
        }
    }

    #[test]
    fn the_black_around_the_image_does_not_count() {
        let white = image(160, |_, _| 255);
        let cut = crop(&white, 2.0, -50.0, 16.0).unwrap();
        assert!(cut.indices().count() < COLUMNS.len() * ROWS.len());
        let (brightness, contrast) = cut.brightness_and_contrast();
        assert!((brightness - 1.0).abs() < 1e-3 && contrast < 1e-3, "{brightness} {contrast}");
        assert_eq!(cut.sharpness(), 0.0);
        for (right, down) in [(-80.0, 16.0), (1e6, 0.0), (0.0, -1e6)] {
            assert!(crop(&white, 2.0, right, down).is_none(), "{right} {down}");
        }
    }
}
