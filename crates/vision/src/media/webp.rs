//! WebP, lossy and lossless.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::orientation::Orientation;
use super::{DecodeLimits, Decoded};

/// Upper bound of the bytes per pixel that the lossless decoder uses in addition to the image itself.
const BYTES_PER_PIXEL: u64 = 16;

pub fn size(bytes: &[u8]) -> Result<(u32, u32), String> {
    Ok(open(bytes)?.dimensions())
}

pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, String> {
    let mut decoder = open(bytes)?;
    decoder.set_memory_limit(usize::try_from(limits.max_pixels.saturating_mul(BYTES_PER_PIXEL)).unwrap_or(usize::MAX));
    let length = decoder.output_buffer_size().ok_or("the header announces an impossible size")?;
    let mut pixels = vec![0; length];
    decoder.read_image(&mut pixels).map_err(|error| error.to_string())?;
    if decoder.has_alpha() {
        pixels = pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    }
    let exif = decoder.exif_metadata().ok().flatten();
    Ok((pixels, exif.map_or(Orientation::UPRIGHT, |block| Orientation::from_exif(&block))))
}

fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, String> {
    // The container has a length field. A shorter file is truncated, even if only trailing chunks are missing.
    let announced = bytes.get(4..8).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
    if announced.is_none_or(|length| bytes.len() as u64 - 8 < u64::from(length)) {
        return Err("the file is shorter than its header says".to_owned());
    }
    WebPDecoder::new(Cursor::new(bytes)).map_err(|error| error.to_string())
}
