//! Scales decoded pixels and encodes them as JPEG, for benches and tests that have few photographs.

use anyhow::Context as _;
use fast_image_resize::images::{Image as Scaled, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::pixels::Pixels;

/// JPEG quality (1 to 100) that cameras use by default.
const QUALITY: i32 = 85;

/// A JPEG of `width` by `height` pixels, with 4:2:0 subsampling.
///
/// # Errors
/// A side is 0 or longer than a JPEG allows.
pub fn jpeg(pixels: &Pixels, width: u32, height: u32) -> anyhow::Result<Vec<u8>> {
    let source = ImageRef::new(pixels.width(), pixels.height(), pixels.rgb(), PixelType::U8x3)?;
    let mut scaled = Scaled::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut scaled, &options)?;
    let (width, height) = (width as usize, height as usize);
    let image = turbojpeg::Image {
        pixels: scaled.buffer(),
        width,
        pitch: width * 3,
        height,
        format: turbojpeg::PixelFormat::RGB,
    };
    let encoded = turbojpeg::compress(image, QUALITY, turbojpeg::Subsamp::Sub2x2);
    Ok(encoded.with_context(|| format!("no JPEG of {width}x{height}"))?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{DecodeLimits, decode};

    #[test]
    fn a_scaled_jpeg_keeps_its_colours() {
        let original = Pixels::from_rgb(64, 32, [200, 100, 50].repeat(64 * 32)).unwrap();
        let smaller = decode(&jpeg(&original, 40, 24).unwrap(), &DecodeLimits::default()).unwrap();
        assert_eq!((smaller.width(), smaller.height()), (40, 24));
        let near = |(level, wanted): (&u8, &u8)| level.abs_diff(*wanted) <= 4;
        assert!(smaller.rgb().chunks_exact(3).all(|pixel| pixel.iter().zip(&[200, 100, 50]).all(near)));
        assert!(jpeg(&original, 0, 24).is_err());
    }
}
