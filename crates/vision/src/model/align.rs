//! Alignment of a face: turns, scales and shifts an image so that the five landmarks of a face come to lie where the network was
//! trained to expect them.
//!
//! In: upright pixels and the landmarks that a detector found. Out: the colour planes of the aligned crop, levels from 0 to 255, and
//! black where the crop is outside of the image. No landmarks, however wrong, read outside of the image or make the work unbounded.

use contracts::Point;

use super::prepare::{Channels, Size};
use crate::pixels::Pixels;

/// Number of landmarks of a face: both eyes, the tip of the nose, both corners of the mouth; of each pair the one to the left in the
/// image first.
pub const LANDMARKS: usize = 5;

/// Where a network expects the landmarks, in pixels of its input.
pub type Template = [(f64, f64); LANDMARKS];

/// Maximum samples of the image, per side, of which one pixel of the crop is the mean. It bounds the time for a face that fills a large
/// image.
const MAX_SAMPLES: f64 = 8.0;

/// Least distance of the landmarks from their middle, as the root of the sum of squares, in pixels. Closer ones, as a crafted image may
/// have them, would make a crop of one colour, and such crops resemble each other more than any two people do.
const LEAST_SPREAD: f64 = 2.0;

/// A similarity transform from pixels of the crop to pixels of the image: a rotation, one scale and a shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// Scale times cosine and sine of the rotation.
    turn: (f64, f64),
    shift: (f64, f64),
}

impl Alignment {
    /// The transform that brings the landmarks as close to the template as possible, by the sum of the squared distances in the crop
    /// (Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991, in two dimensions and without
    /// reflections).
    ///
    /// `None` unless there are five landmarks, finite, and apart by at least [`LEAST_SPREAD`].
    pub fn of(landmarks: &[Point], template: &Template) -> Option<Self> {
        let landmarks: [&Point; LANDMARKS] = landmarks.iter().collect::<Vec<_>>().try_into().ok()?;
        let count = LANDMARKS as f64;
        let centre = landmarks.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.x / count, sum.1 + point.y / count));
        let middle = template.iter().fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x / count, sum.1 + y / count));
        let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
        for (point, (x, y)) in landmarks.iter().zip(template) {
            let (from, to) = ((point.x - centre.0, point.y - centre.1), (x - middle.0, y - middle.1));
            along += from.0 * to.0 + from.1 * to.1;
            across += from.0 * to.1 - from.1 * to.0;
            spread += from.0 * from.0 + from.1 * from.1;
        }
        if spread.sqrt() < LEAST_SPREAD {
            return None;
        }
        // From the image to the crop; its inverse is what a crop is read with.
        let (cosine, sine) = (along / spread, across / spread);
        let scale = cosine.mul_add(cosine, sine * sine);
        let turn = (cosine / scale, -sine / scale);
        let shift =
            (centre.0 - turn.0 * middle.0 + turn.1 * middle.1, centre.1 - turn.1 * middle.0 - turn.0 * middle.1);
        [turn.0, turn.1, shift.0, shift.1].iter().all(|number| number.is_finite()).then_some(Self { turn, shift })
    }

    /// The point of the image that a point of the crop comes from.
    pub fn source(&self, x: f64, y: f64) -> (f64, f64) {
        let (cosine, sine) = self.turn;
        (cosine * x - sine * y + self.shift.0, sine * x + cosine * y + self.shift.1)
    }

    /// Pixels of the image for each pixel of the crop, along a side.
    pub fn scale(&self) -> f64 {
        self.turn.0.hypot(self.turn.1)
    }

    /// Writes the crop as three colour planes of `size`. Each pixel is the mean of evenly spaced samples of the area that it covers in the
    /// image, so a large face is not undersampled; between pixels, levels are interpolated linearly.
    pub fn fill(&self, pixels: &Pixels, size: Size, channels: Channels, planes: &mut [f32]) {
        let samples = self.scale().round().clamp(1.0, MAX_SAMPLES);
        let offsets: Vec<f64> = (0..samples as u32).map(|number| (f64::from(number) + 0.5) / samples - 0.5).collect();
        let share = 1.0 / (samples * samples) as f32;
        let plane_length = planes.len() / 3;
        let (first, rest) = planes.split_at_mut(plane_length);
        let (second, third) = rest.split_at_mut(plane_length);
        let targets = first.iter_mut().zip(second).zip(third);
        let colours = channels.colours();
        for (index, ((first, second), third)) in targets.enumerate() {
            let (column, row) = (index % size.width as usize, index / size.width as usize);
            let mut sum = [0.0; 3];
            for down in &offsets {
                for right in &offsets {
                    let (x, y) = self.source(column as f64 + right, row as f64 + down);
                    add_sample(pixels, x, y, &mut sum);
                }
            }
            for (target, colour) in [first, second, third].into_iter().zip(colours) {
                *target = sum[colour] * share;
            }
        }
    }
}

/// Adds the levels of red, green and blue at a point, of which the centre of the first pixel is (0, 0).
fn add_sample(pixels: &Pixels, x: f64, y: f64, sum: &mut [f32; 3]) {
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    // Also false for what is not a number.
    if !(x > -1.0 && y > -1.0 && x < width as f64 && y < height as f64) {
        return;
    }
    let (left, top) = (x.floor(), y.floor());
    let (right_share, lower_share) = ((x - left) as f32, (y - top) as f32);
    let rgb = pixels.rgb();
    for (row, share) in [(top, 1.0 - lower_share), (top + 1.0, lower_share)] {
        for (column, share) in [(left, share * (1.0 - right_share)), (left + 1.0, share * right_share)] {
            if row < 0.0 || column < 0.0 || row >= height as f64 || column >= width as f64 {
                continue;
            }
            let start = (row as usize * width + column as usize) * 3;
            for (total, level) in sum.iter_mut().zip(&rgb[start..start + 3]) {
                *total += share * f32::from(*level);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: Template = [(38.0, 52.0), (74.0, 52.0), (56.0, 72.0), (42.0, 92.0), (70.0, 92.0)];

    fn points(map: impl Fn(f64, f64) -> (f64, f64)) -> Vec<Point> {
        TEMPLATE.iter().map(|(x, y)| map(*x, *y)).map(|(x, y)| Point { x, y }).collect()
    }

    fn near(found: (f64, f64), expected: (f64, f64)) {
        assert!((found.0 - expected.0).hypot(found.1 - expected.1) < 1e-9, "{found:?} is not {expected:?}");
    }

    #[test]
    fn a_turned_scaled_and_shifted_face_comes_back_to_the_template() {
        let turned = |x: f64, y: f64| (-2.0 * y + 300.0, 2.0 * x + 40.0);
        let alignment = Alignment::of(&points(turned), &TEMPLATE).unwrap();
        assert!((alignment.scale() - 2.0).abs() < 1e-12);
        for (x, y) in TEMPLATE {
            near(alignment.source(x, y), turned(x, y));
        }
    }

    #[test]
    fn a_mirrored_face_is_not_mirrored_back() {
        let alignment = Alignment::of(&points(|x, y| (112.0 - x, y)), &TEMPLATE).unwrap();
        let (left, right) = (alignment.source(38.0, 52.0), alignment.source(74.0, 52.0));
        let (_, below) = (left, alignment.source(38.0, 92.0));
        // The turn from "right" to "below" keeps its direction.
        assert!((right.0 - left.0) * (below.1 - left.1) - (right.1 - left.1) * (below.0 - left.0) > 0.0);
    }

    #[test]
    fn landmarks_that_say_nothing_have_no_alignment() {
        assert_eq!(Alignment::of(&points(|_, _| (7.0, 7.0)), &TEMPLATE), None);
        assert_eq!(Alignment::of(&points(|x, y| (x / 100.0, y / 100.0)), &TEMPLATE), None);
        assert_eq!(Alignment::of(&points(|x, _| (x, f64::NAN)), &TEMPLATE), None);
        assert_eq!(Alignment::of(&points(|x, _| (x * 1e200, 0.0)), &TEMPLATE), None);
        assert_eq!(Alignment::of(&points(|x, y| (x, y))[..4], &TEMPLATE), None);
        assert_eq!(Alignment::of(&[], &TEMPLATE), None);
    }

    /// A ramp: red grows to the right, green downwards, blue is 10.
    fn ramp(width: u32, height: u32) -> Pixels {
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 10])).collect();
        Pixels::from_rgb(width, height, rgb).unwrap()
    }

    fn crop(pixels: &Pixels, alignment: Alignment, channels: Channels) -> Vec<f32> {
        let mut planes = vec![f32::NAN; 12];
        alignment.fill(pixels, Size { width: 2, height: 2 }, channels, &mut planes);
        planes
    }

    #[test]
    fn levels_between_pixels_are_interpolated_in_each_order_of_colours() {
        let alignment = Alignment { turn: (1.0, 0.0), shift: (3.25, 5.5) };
        let rgb = crop(&ramp(20, 20), alignment, Channels::Rgb);
        assert_eq!(rgb, [3.25, 4.25, 3.25, 4.25, 5.5, 5.5, 6.5, 6.5, 10.0, 10.0, 10.0, 10.0]);
        let bgr = crop(&ramp(20, 20), alignment, Channels::Bgr);
        assert_eq!((&bgr[..4], &bgr[8..]), (&rgb[8..], &rgb[..4]));
    }

    #[test]
    fn a_large_face_is_averaged() {
        // Columns of black and white: without the mean, all samples would be of one colour.
        let stripes = (0..40 * 40).flat_map(|index| [if index % 2 == 0 { 0 } else { 200 }; 3]).collect();
        let pixels = Pixels::from_rgb(40, 40, stripes).unwrap();
        let planes = crop(&pixels, Alignment { turn: (8.0, 0.0), shift: (12.0, 12.0) }, Channels::Rgb);
        assert!(planes.iter().all(|level| (level - 100.0).abs() < 1.0), "{planes:?}");
    }

    #[test]
    fn outside_of_the_image_the_crop_is_black() {
        for shift in [(-50.0, 3.0), (3.0, 50.0), (1e300, 0.0)] {
            let planes = crop(&ramp(20, 20), Alignment { turn: (1.0, 0.0), shift }, Channels::Rgb);
            assert_eq!(planes, [0.0; 12]);
        }
        // Half of the pixel is outside.
        let planes = crop(&ramp(20, 20), Alignment { turn: (1.0, 0.0), shift: (-0.5, 0.0) }, Channels::Rgb);
        assert_eq!(planes[8], 5.0);
    }
}
