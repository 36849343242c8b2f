//! Pictures in; the planes of numbers a network reads out.
//!
//! A picture is shown at its own size unless its largest side is above the detector's limit; then it is scaled down. What
//! the network's stride asks for beyond that is black, to the right and below, so that coordinates stay what they are.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::image::Image;
use crate::runtime::ExecutionProvider;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// The order of the planes a network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// How a picture is shown to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// The picture as it came.
    pub original: Size,
    /// The picture after scaling.
    pub shown: Size,
    /// The network's input around it.
    pub input: Size,
}

impl Fit {
    /// Plans how a picture of `original` size is shown.
    ///
    /// On a CPU the input is as small as `stride` allows. On a GPU each new input shape costs memory and a search for
    /// kernels, so sides are rounded up to a coarse ladder (at most a quarter more), which leaves a few dozen shapes.
    pub fn plan(original: Size, largest_side: u32, stride: u32, provider: ExecutionProvider) -> Self {
        let largest = original.width.max(original.height);
        let scaled = |side: u32| {
            if largest <= largest_side {
                return side;
            }
            let exact = f64::from(side) * f64::from(largest_side) / f64::from(largest);
            (exact.round() as u32).max(1)
        };
        let shown = Size { width: scaled(original.width), height: scaled(original.height) };
        let padded = |side: u32| match provider {
            ExecutionProvider::Cpu => side.next_multiple_of(stride),
            ExecutionProvider::Cuda | ExecutionProvider::Tensorrt => rung(side, stride),
        };
        Self { original, shown, input: Size { width: padded(shown.width), height: padded(shown.height) } }
    }

    /// Original pixels for each shown pixel, to the right and down.
    pub fn scale_back(&self) -> (f32, f32) {
        (self.original.width as f32 / self.shown.width as f32, self.original.height as f32 / self.shown.height as f32)
    }
}

/// The next step of a ladder with four steps to each doubling, all multiples of `stride`.
fn rung(side: u32, stride: u32) -> u32 {
    let units = side.div_ceil(stride).max(1);
    let step = (units.next_power_of_two() / 8).max(1);
    units.next_multiple_of(step) * stride
}

/// Pixels of a picture for which memory is kept: larger ones are rare, and each session keeps its own.
const KEPT: usize = 4 << 20;

/// Scales and spreads pictures into network input.
#[derive(Default)]
pub struct Preparer {
    resizer: Resizer,
    /// One colour of the picture; kept up to [`KEPT`], because memory fresh from the system costs more than filling it.
    source: Vec<F32>,
}

impl Preparer {
    /// Writes the picture as three planes of 0 to 255 into `planes`, which has room for exactly `3 * fit.input` numbers
    /// and is overwritten whole.
    ///
    /// # Errors
    /// The scaling refuses the sizes, which [`Fit::plan`] never makes it do.
    pub fn fill(&mut self, image: &Image, fit: &Fit, channels: Channels, planes: &mut [f32]) -> Result<(), String> {
        if fit.shown == fit.original {
            spread(image.pixels(), fit, channels, planes);
            return Ok(());
        }
        let order = match channels {
            Channels::Rgb => [0, 1, 2],
            Channels::Bgr => [2, 1, 0],
        };
        let plane_length = planes.len() / 3;
        for (plane, colour) in planes.chunks_exact_mut(plane_length).zip(order) {
            self.scale(image, colour, fit, plane)?;
        }
        if self.source.capacity() > KEPT {
            self.source = Vec::new();
        }
        Ok(())
    }

    /// Scales one colour without rounding to whole levels in between: where two neighbouring cells are almost equally sure
    /// of a face, a level more or less decides which of them wins. One plane at a time keeps the memory for it small.
    fn scale(&mut self, image: &Image, colour: usize, fit: &Fit, plane: &mut [f32]) -> Result<(), String> {
        self.source.clear();
        self.source.extend(image.pixels().chunks_exact(3).map(|pixel| F32::new(f32::from(pixel[colour]))));
        let source = TypedImageRef::new(fit.original.width, fit.original.height, &self.source)
            .map_err(|error| error.to_string())?;
        let mut shown = TypedImage::<F32>::new(fit.shown.width, fit.shown.height);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize_typed(&source, &mut shown, &options).map_err(|error| error.to_string())?;
        plane.fill(0.0);
        let rows = shown.pixels().chunks_exact(fit.shown.width as usize);
        for (row, target) in rows.zip(plane.chunks_exact_mut(fit.input.width as usize)) {
            for (pixel, target) in row.iter().zip(target) {
                *target = pixel.0;
            }
        }
        Ok(())
    }
}

/// Packed RGB rows of the shown size to planes of the input size, the rest black.
fn spread(pixels: &[u8], fit: &Fit, channels: Channels, planes: &mut [f32]) {
    let (input_width, shown_width) = (fit.input.width as usize, fit.shown.width as usize);
    let (first, rest) = planes.split_at_mut(planes.len() / 3);
    let (green, last) = rest.split_at_mut(rest.len() / 2);
    let (red, blue) = match channels {
        Channels::Rgb => (first, last),
        Channels::Bgr => (last, first),
    };
    for plane in [&mut *red, &mut *green, &mut *blue] {
        plane[fit.shown.height as usize * input_width..].fill(0.0);
    }
    let rows = pixels.chunks_exact(shown_width * 3);
    let planes = red.chunks_exact_mut(input_width).zip(green.chunks_exact_mut(input_width));
    for (row, ((red, green), blue)) in rows.zip(planes.zip(blue.chunks_exact_mut(input_width))) {
        for plane in [&mut *red, &mut *green, &mut *blue] {
            plane[shown_width..].fill(0.0);
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
    fn a_picture_within_the_limit_is_shown_as_it_is_and_padded_to_the_stride() {
        let fit = Fit::plan(size(1600, 1158), 1920, 32, CPU);
        assert_eq!((fit.shown, fit.input), (size(1600, 1158), size(1600, 1184)));
        assert_eq!(fit.scale_back(), (1.0, 1.0));
    }

    #[test]
    fn a_picture_above_the_limit_is_scaled_down_and_never_to_nothing() {
        let fit = Fit::plan(size(4000, 2001), 1000, 32, CPU);
        assert_eq!((fit.shown, fit.input), (size(1000, 500), size(1024, 512)));
        assert_eq!(Fit::plan(size(20_000_000, 1), 1000, 32, CPU).shown, size(1000, 1));
    }

    #[test]
    fn a_gpu_sees_few_shapes() {
        let shapes: std::collections::BTreeSet<u32> =
            (1..=1920).map(|side| Fit::plan(size(side, side), 1920, 32, ExecutionProvider::Cuda).input.width).collect();
        assert!(shapes.len() <= 24, "{shapes:?}");
        assert!((1..=1920).all(|side| {
            let padded = rung(side, 32);
            padded >= side && padded.is_multiple_of(32) && padded <= (side + 31) + side / 4
        }));
    }

    #[test]
    fn planes_hold_the_colours_in_the_order_asked_and_black_around_them() {
        let image = Image::from_rgb(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let fit = Fit { original: size(2, 1), shown: size(2, 1), input: size(3, 2) };
        let mut planes = vec![f32::NAN; 18];
        Preparer::default().fill(&image, &fit, Channels::Bgr, &mut planes).unwrap();
        assert_eq!(planes[..6], [3.0, 6.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(planes[6..12], [2.0, 5.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(planes[12..], [1.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn scaling_down_keeps_a_plain_colour() {
        let image = Image::from_rgb(64, 32, [10, 20, 30].repeat(64 * 32)).unwrap();
        let fit = Fit::plan(size(64, 32), 32, 32, CPU);
        let mut planes = vec![f32::NAN; 32 * 32 * 3];
        Preparer::default().fill(&image, &fit, Channels::Rgb, &mut planes).unwrap();
        assert!(
            planes[..32 * 16].iter().all(|&red| (red - 10.0).abs() < 1e-3)
                && planes[32 * 16..32 * 32].iter().all(|&red| red == 0.0)
        );
    }
}
