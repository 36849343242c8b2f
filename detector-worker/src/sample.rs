//! One picture in other sizes, as JPEG: what measurements and tests need where photographs are few.

use anyhow::Context as _;
use fast_image_resize::images::{Image as Pixels, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::image::Image;

/// As cameras use to set it.
const QUALITY: i32 = 85;

/// The picture at this size, encoded as a camera does.
///
/// # Errors
/// A side is 0, or the size is more than a JPEG can have.
pub fn jpeg(picture: &Image, width: u32, height: u32) -> anyhow::Result<Vec<u8>> {
    let source = ImageRef::new(picture.width(), picture.height(), picture.pixels(), PixelType::U8x3)?;
    let mut scaled = Pixels::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut scaled, &options)?;
    let (width, height) = (width as usize, height as usize);
    let pixels = turbojpeg::Image {
        pixels: scaled.buffer(),
        width,
        pitch: width * 3,
        height,
        format: turbojpeg::PixelFormat::RGB,
    };
    let encoded = turbojpeg::compress(pixels, QUALITY, turbojpeg::Subsamp::Sub2x2);
    Ok(encoded.with_context(|| format!("no JPEG of {width}x{height}"))?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{DecodeLimits, decode};

    #[test]
    fn a_picture_keeps_its_colours_at_another_size() {
        let picture = Image::from_rgb(64, 32, [200, 100, 50].repeat(64 * 32)).unwrap();
        let smaller = decode(&jpeg(&picture, 40, 24).unwrap(), &DecodeLimits::default()).unwrap();
        assert_eq!((smaller.width(), smaller.height()), (40, 24));
        let near = |(level, wanted): (&u8, &u8)| level.abs_diff(*wanted) <= 4;
        assert!(smaller.pixels().chunks_exact(3).all(|pixel| pixel.iter().zip(&[200, 100, 50]).all(near)));
        assert!(jpeg(&picture, 0, 24).is_err());
    }
}
