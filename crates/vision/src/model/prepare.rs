//! Scales pixels and writes them as the colour planes that a network reads.
//!
//! A network with dynamic input gets an image in its original size, or scaled down if its longer
//! side is above the model's limit. A network with fixed input gets the image scaled to fit. The
//! rest of the input is padding, to the right and below, so that coordinates need no offset.

use contracts::BoundingBox;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::pixels::Pixels;
use crate::runtime::ExecutionProvider;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// The order of the colour planes that a network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl Channels {
    /// The colour of each plane, as its index in a pixel of red, green and blue.
    pub(super) fn colours(self) -> [usize; 3] {
        match self {
            Self::Rgb => [0, 1, 2],
            Self::Bgr => [2, 1, 0],
        }
    }
}

/// How the levels of an image become the numbers that a network was trained with: the level from 0 to 1, less the mean of
/// its colour, divided by the standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// Mean of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub deviation: [f32; 3],
}

impl Normalisation {
    /// Mean and standard deviation of ImageNet, which many networks use.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };

    /// Normalises the planes of one image.
    pub fn apply(&self, planes: &mut [f32], channels: Channels) {
        let plane_length = planes.len() / 3;
        for (plane, colour) in planes.chunks_exact_mut(plane_length).zip(channels.colours()) {
            let (mean, deviation) = (self.mean[colour] * 255.0, self.deviation[colour] * 255.0);
            for number in plane {
                *number = (*number - mean) / deviation;
            }
        }
    }
}

/// The sizes of an image before and after scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// The image as decoded.
    pub original: Size,
    /// The image after scaling.
    pub scaled: Size,
    /// The network's input, which contains the scaled image and its padding.
    pub input: Size,
}

impl Fit {
    /// The fit for a network with dynamic input.
    ///
    /// On a CPU the input is as small as `multiple` allows. On a GPU each new input shape costs memory and a search for
    /// kernels, so sides are rounded up in coarse steps (at most a quarter more), which gives only a few dozen shapes.
    pub fn dynamic(original: Size, largest_side: u32, multiple: u32, provider: ExecutionProvider) -> Self {
        let scaled = original.scaled_to(original.width.max(original.height).min(largest_side));
        let padded = |side: u32| match provider {
            ExecutionProvider::Cpu => side.next_multiple_of(multiple),
            ExecutionProvider::Cuda | ExecutionProvider::Tensorrt => round_up_to_step(side, multiple),
        };
        Self { original, scaled, input: Size { width: padded(scaled.width), height: padded(scaled.height) } }
    }

    /// The fit of the same image at half of the scale, for a network with dynamic input.
    pub fn halved(&self, multiple: u32, provider: ExecutionProvider) -> Self {
        let longer = self.scaled.width.max(self.scaled.height);
        Self::dynamic(self.original, (longer / 2).max(1), multiple, provider)
    }

    /// The fit for a network with an input of fixed size: the largest scale at which the whole image is in the input.
    pub fn fixed(original: Size, input: Size) -> Self {
        let share = |side: u32, limit: u32| f64::from(limit) / f64::from(side);
        let scale = share(original.width, input.width).min(share(original.height, input.height));
        let scaled = |side: u32, limit: u32| ((f64::from(side) * scale).round() as u32).clamp(1, limit);
        let scaled = Size { width: scaled(original.width, input.width), height: scaled(original.height, input.height) };
        Self { original, scaled, input }
    }

    /// The fit for a network with an input of fixed size that reads stretched images.
    pub fn stretched(original: Size, input: Size) -> Self {
        Self { original, scaled: input, input }
    }

    /// Original pixels per scaled pixel, horizontally and vertically.
    pub fn scale_back(&self) -> (f32, f32) {
        (self.original.width as f32 / self.scaled.width as f32, self.original.height as f32 / self.scaled.height as f32)
    }
}

impl Size {
    /// Numbers of three colour planes.
    pub fn planes(self) -> usize {
        3 * self.width as usize * self.height as usize
    }

    /// The size in the same proportions whose longer side has `longer` pixels. No side is below 1.
    fn scaled_to(self, longer: u32) -> Self {
        let largest = self.width.max(self.height);
        if longer == largest {
            return self;
        }
        let scaled = |side: u32| {
            let exact = f64::from(side) * f64::from(longer) / f64::from(largest);
            (exact.round() as u32).max(1)
        };
        Self { width: scaled(self.width), height: scaled(self.height) }
    }
}

/// A rectangle of whole pixels in an image, at least one pixel in size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Pixels left of it.
    pub left: u32,
    /// Pixels above it.
    pub top: u32,
    /// Its size.
    pub size: Size,
}

impl Region {
    /// The pixels that a box touches; `None` if it has no part in the image.
    pub fn of(bounds: &BoundingBox, image: Size) -> Option<Self> {
        let edge = |value: f64, limit: u32| value.clamp(0.0, f64::from(limit)) as u32;
        let (left, right) = (bounds.x.floor(), (bounds.x + bounds.width).ceil());
        let (top, bottom) = (bounds.y.floor(), (bounds.y + bounds.height).ceil());
        let (left, right) = (edge(left, image.width), edge(right, image.width));
        let (top, bottom) = (edge(top, image.height), edge(bottom, image.height));
        let size = Size { width: right.saturating_sub(left), height: bottom.saturating_sub(top) };
        (size.width > 0 && size.height > 0).then_some(Self { left, top, size })
    }

    fn whole(pixels: &Pixels) -> Self {
        Self { left: 0, top: 0, size: Size { width: pixels.width(), height: pixels.height() } }
    }
}

/// Rounds a side up to the next step. There are four steps per doubling, all multiples of `multiple`.
fn round_up_to_step(side: u32, multiple: u32) -> u32 {
    let units = side.div_ceil(multiple).max(1);
    let step = (units.next_power_of_two() / 8).max(1);
    units.next_multiple_of(step) * multiple
}

/// Pixels of the largest colour plane whose buffer is kept. Larger images are rare, and each session keeps its own buffer.
const MAX_KEPT_PLANE: usize = 4 << 20;

/// Scales images and writes their colour planes.
#[derive(Default)]
pub struct Preparer {
    resizer: Resizer,
    /// One colour plane of the original. Kept up to [`MAX_KEPT_PLANE`], because allocating new memory costs more than filling it.
    source: Vec<F32>,
}

impl Preparer {
    /// Writes an image as three planes of levels from 0 to 255. `planes` has `3 * input.width * input.height` numbers and is
    /// overwritten; `padding` is the level around the image.
    ///
    /// # Errors
    /// The resizer refuses the sizes; this never happens for sizes of a [`Fit`].
    pub fn fill(
        &mut self,
        pixels: &Pixels,
        fit: &Fit,
        channels: Channels,
        padding: f32,
        planes: &mut [f32],
    ) -> Result<(), String> {
        if fit.scaled == fit.original {
            copy_planes(pixels.rgb(), fit, channels, padding, planes);
            return Ok(());
        }
        let plane_length = planes.len() / 3;
        for (plane, colour) in planes.chunks_exact_mut(plane_length).zip(channels.colours()) {
            plane.fill(padding);
            self.scale(pixels, Region::whole(pixels), colour, fit.scaled, fit.input.width, plane)?;
        }
        self.forget_large_plane();
        Ok(())
    }

    /// Writes a region of an image, stretched to `size`, as three planes of levels from 0 to 255.
    ///
    /// # Errors
    /// The resizer refuses the sizes; this never happens for a region of the image.
    pub fn fill_crop(
        &mut self,
        pixels: &Pixels,
        region: Region,
        size: Size,
        channels: Channels,
        planes: &mut [f32],
    ) -> Result<(), String> {
        let plane_length = planes.len() / 3;
        for (plane, colour) in planes.chunks_exact_mut(plane_length).zip(channels.colours()) {
            self.scale(pixels, region, colour, size, size.width, plane)?;
        }
        self.forget_large_plane();
        Ok(())
    }

    fn forget_large_plane(&mut self) {
        if self.source.capacity() > MAX_KEPT_PLANE {
            self.source = Vec::new();
        }
    }

    /// Scales one colour of a region in floating point: if two neighbouring cells of a network have
    /// almost equal scores, rounding to integers could change which one is higher. One plane at a
    /// time keeps the memory small.
    fn scale(
        &mut self,
        pixels: &Pixels,
        region: Region,
        colour: usize,
        scaled: Size,
        row_length: u32,
        plane: &mut [f32],
    ) -> Result<(), String> {
        self.source.clear();
        let columns = region.left as usize * 3..(region.left + region.size.width) as usize * 3;
        for row in pixels.rows().skip(region.top as usize).take(region.size.height as usize) {
            self.source.extend(row[columns.clone()].chunks_exact(3).map(|pixel| F32::new(f32::from(pixel[colour]))));
        }
        let source = TypedImageRef::new(region.size.width, region.size.height, &self.source)
            .map_err(|error| error.to_string())?;
        let mut target = TypedImage::<F32>::new(scaled.width, scaled.height);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize_typed(&source, &mut target, &options).map_err(|error| error.to_string())?;
        let rows = target.pixels().chunks_exact(scaled.width as usize);
        for (row, target) in rows.zip(plane.chunks_exact_mut(row_length as usize)) {
            for (pixel, target) in row.iter().zip(target) {
                *target = pixel.0;
            }
        }
        Ok(())
    }
}

/// Writes packed RGB rows that need no scaling as planes of the input's size.
fn copy_planes(rgb: &[u8], fit: &Fit, channels: Channels, padding: f32, planes: &mut [f32]) {
    let (input_width, image_width) = (fit.input.width as usize, fit.scaled.width as usize);
    let (first, rest) = planes.split_at_mut(planes.len() / 3);
    let (green, last) = rest.split_at_mut(rest.len() / 2);
    let (red, blue) = match channels {
        Channels::Rgb => (first, last),
        Channels::Bgr => (last, first),
    };
    for plane in [&mut *red, &mut *green, &mut *blue] {
        plane[fit.scaled.height as usize * input_width..].fill(padding);
    }
    let rows = rgb.chunks_exact(image_width * 3);
    let planes = red.chunks_exact_mut(input_width).zip(green.chunks_exact_mut(input_width));
    for (row, ((red, green), blue)) in rows.zip(planes.zip(blue.chunks_exact_mut(input_width))) {
        for plane in [&mut *red, &mut *green, &mut *blue] {
            plane[image_width..].fill(padding);
        }
        let targets = red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut());
        for (pixel, ((red, green), blue)) in row.chunks_exact(3).zip(targets) {
            *red = f32::from(pixel[0]);
            *green = f32::from(pixel[1]);
            *blue = f32::from(pixel[2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: ExecutionProvider = ExecutionProvider::Cpu;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn an_image_within_the_limit_is_only_padded_to_the_multiple() {
        let fit = Fit::dynamic(size(1600, 1158), 1920, 32, CPU);
        assert_eq!((fit.scaled, fit.input), (size(1600, 1158), size(1600, 1184)));
        assert_eq!(fit.scale_back(), (1.0, 1.0));
    }

    #[test]
    fn an_image_above_the_limit_is_scaled_down_and_never_to_nothing() {
        let fit = Fit::dynamic(size(4000, 2001), 1000, 32, CPU);
        assert_eq!((fit.scaled, fit.input), (size(1000, 500), size(1024, 512)));
        assert_eq!(Fit::dynamic(size(20_000_000, 1), 1000, 32, CPU).scaled, size(1000, 1));
    }

    #[test]
    fn half_of_the_scale_is_half_of_what_the_network_saw() {
        for (original, half) in
            [(size(1600, 1158), size(800, 579)), (size(4000, 2000), size(960, 480)), (size(1, 1), size(1, 1))]
        {
            let fit = Fit::dynamic(original, 1920, 32, CPU).halved(32, CPU);
            assert_eq!((fit.original, fit.scaled), (original, half));
        }
    }

    #[test]
    fn an_image_fills_a_fixed_input_as_far_as_its_proportions_allow() {
        for (original, scaled) in
            [(size(1920, 1080), size(416, 234)), (size(100, 200), size(208, 416)), (size(20_000_000, 1), size(416, 1))]
        {
            let fit = Fit::fixed(original, size(416, 416));
            assert_eq!((fit.scaled, fit.input), (scaled, size(416, 416)));
        }
    }

    #[test]
    fn a_gpu_gets_few_shapes() {
        let width = |side| Fit::dynamic(size(side, side), 1920, 32, ExecutionProvider::Cuda).input.width;
        let shapes: std::collections::BTreeSet<u32> = (1..=1920).map(width).collect();
        assert!(shapes.len() <= 24, "{shapes:?}");
        assert!((1..=1920).all(|side| {
            let padded = round_up_to_step(side, 32);
            padded >= side && padded.is_multiple_of(32) && padded <= (side + 31) + side / 4
        }));
    }

    #[test]
    fn planes_have_the_requested_order_of_colours_and_padding() {
        let pixels = Pixels::from_rgb(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let fit = Fit { original: size(2, 1), scaled: size(2, 1), input: size(3, 2) };
        let mut planes = vec![f32::NAN; 18];
        Preparer::default().fill(&pixels, &fit, Channels::Bgr, 114.0, &mut planes).unwrap();
        assert_eq!(planes[..6], [3.0, 6.0, 114.0, 114.0, 114.0, 114.0]);
        assert_eq!(planes[6..12], [2.0, 5.0, 114.0, 114.0, 114.0, 114.0]);
        assert_eq!(planes[12..], [1.0, 4.0, 114.0, 114.0, 114.0, 114.0]);
    }

    #[test]
    fn a_region_has_every_pixel_that_its_box_touches() {
        let bounds = |x, y, width, height| BoundingBox { x, y, width, height };
        let region = Region::of(&bounds(1.5, 2.0, 3.0, 2.25), size(100, 50)).unwrap();
        assert_eq!((region.left, region.top, region.size), (1, 2, size(4, 3)));
        let cut = Region::of(&bounds(-5.0, 48.0, 200.0, 10.0), size(100, 50)).unwrap();
        assert_eq!((cut.left, cut.top, cut.size), (0, 48, size(100, 2)));
        for outside in [bounds(100.0, 0.0, 5.0, 5.0), bounds(-9.0, 0.0, 5.0, 5.0), bounds(f64::NAN, 0.0, 5.0, 5.0)] {
            assert_eq!(Region::of(&outside, size(100, 50)), None, "{outside:?}");
        }
    }

    #[test]
    fn a_crop_has_only_the_pixels_of_its_region() {
        // Columns of red levels 0, 10, 20 and 30; the crop has the last two.
        let row = [0, 10, 20, 30].map(|red| [red, 7, 9]).concat();
        let pixels = Pixels::from_rgb(4, 2, row.repeat(2)).unwrap();
        let mut planes = vec![f32::NAN; 12];
        let region = Region { left: 2, top: 1, size: size(2, 1) };
        Preparer::default().fill_crop(&pixels, region, size(2, 2), Channels::Bgr, &mut planes).unwrap();
        assert_eq!(planes[..4], [9.0; 4]);
        assert_eq!(planes[8..], [20.0, 30.0, 20.0, 30.0]);
    }

    #[test]
    fn levels_are_normalised_by_the_colour_of_their_plane() {
        let numbers = Normalisation { mean: [0.0, 0.2, 0.4], deviation: [1.0, 0.5, 0.2] };
        let mut planes = vec![255.0; 3];
        numbers.apply(&mut planes, Channels::Bgr);
        for (number, expected) in planes.into_iter().zip([3.0, 1.6, 1.0]) {
            assert!((number - expected).abs() < 1e-6, "{number}, not {expected}");
        }
    }

    #[test]
    fn a_stretched_image_fills_the_input_and_has_two_scales() {
        let fit = Fit::stretched(size(200, 100), size(50, 50));
        assert_eq!((fit.scaled, fit.input, fit.scale_back()), (size(50, 50), size(50, 50), (4.0, 2.0)));
    }

    #[test]
    fn scaling_keeps_a_plain_colour() {
        let pixels = Pixels::from_rgb(64, 32, [10, 20, 30].repeat(64 * 32)).unwrap();
        for (side, fit) in
            [(32, Fit::dynamic(size(64, 32), 32, 32, CPU)), (128, Fit::fixed(size(64, 32), size(128, 128)))]
        {
            let mut planes = vec![f32::NAN; side * side * 3];
            Preparer::default().fill(&pixels, &fit, Channels::Rgb, 7.0, &mut planes).unwrap();
            let (image, padding) = planes[..side * side].split_at(side * side / 2);
            assert!(image.iter().all(|&red| (red - 10.0).abs() < 1e-3), "{side}");
            assert!(padding.iter().all(|&red| red == 7.0), "{side}");
        }
    }
}
