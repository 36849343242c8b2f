//! Images from 16 x 16 pixels to 20 megapixels, in every supported format.

use anyhow::Context;
use bytes::Bytes;
use vision::pixels::Pixels;
use vision::sample;

/// Width and height in pixels; some are wide, tall or odd.
const SIZES: [(u32, u32); 9] =
    [(16, 16), (65, 47), (320, 240), (640, 480), (1279, 721), (333, 2500), (2592, 1944), (4000, 3000), (5472, 3648)];

/// An encoded image.
pub struct SampleImage {
    pub name: String,
    pub media_type: &'static str,
    pub bytes: Bytes,
}

/// All images, ordered by size and then by format.
pub fn all() -> anyhow::Result<Vec<SampleImage>> {
    let mut images = Vec::new();
    for (width, height) in SIZES {
        let pixels = pixels(width, height);
        let named = |format: &str| format!("a {format} of {width} x {height}");
        let (png, webp) = (png(width, height, &pixels)?, webp(width, height, &pixels)?);
        let image = Pixels::from_rgb(width, height, pixels).context("an image")?;
        let jpeg = sample::jpeg(&image, width, height)?;
        for (name, media_type, bytes) in
            [("JPEG", "image/jpeg", jpeg), ("PNG", "image/png", png), ("WebP", "image/webp", webp)]
        {
            images.push(SampleImage { name: named(name), media_type, bytes: bytes.into() });
        }
    }
    Ok(images)
}

/// RGB gradients, which compress well, so that the largest file stays below the size limit.
fn pixels(width: u32, height: u32) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        for x in 0..width {
            pixels.extend([(x / 16) as u8, (y / 16) as u8, ((x + y) / 64) as u8]);
        }
    }
    pixels
}

fn png(width: u32, height: u32, pixels: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels)).context("a PNG")?;
    Ok(bytes)
}

fn webp(width: u32, height: u32, pixels: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = image_webp::WebPEncoder::new(&mut bytes);
    encoder.encode(pixels, width, height, image_webp::ColorType::Rgb8).context("a WebP")?;
    Ok(bytes)
}
