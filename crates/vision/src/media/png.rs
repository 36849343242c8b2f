//! PNG of every colour type and depth. Wrong checksums of ancillary chunks are tolerated, those of the image are not.

use std::io::Cursor;

use png::{ColorType, Decoder, Limits, Reader, Transformations};

use super::orientation::Orientation;
use super::{DecodeLimits, Decoded};

/// Bytes for row buffers and tables, in addition to the image itself.
const WORKING_BYTES: usize = 16 << 20;

/// Bytes per pixel of a row buffer: at most four samples of 16 bits.
const MAX_BYTES_PER_PIXEL: u64 = 8;

pub fn size(bytes: &[u8]) -> Result<(u32, u32), String> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    let info = decoder.read_header_info().map_err(|error| error.to_string())?;
    Ok((info.width, info.height))
}

pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, String> {
    let mut reader = reader(bytes, limits).map_err(|error| error.to_string())?;
    let length = reader.output_buffer_size().ok_or("the header announces an impossible size")?;
    let mut samples = vec![0; length];
    let frame = reader.next_frame(&mut samples).map_err(|error| error.to_string())?;
    // Reads to the end chunk, so that a file truncated behind its image data is an error too.
    reader.finish().map_err(|error| error.to_string())?;
    samples.truncate(frame.buffer_size());
    let orientation =
        reader.info().exif_metadata.as_ref().map_or(Orientation::UPRIGHT, |block| Orientation::from_exif(block));
    Ok((to_rgb(samples, frame.color_type), orientation))
}

fn reader<'b>(bytes: &'b [u8], limits: &DecodeLimits) -> Result<Reader<Cursor<&'b [u8]>>, png::DecodingError> {
    let budget = usize::try_from(limits.max_pixels.saturating_mul(MAX_BYTES_PER_PIXEL)).unwrap_or(usize::MAX);
    let mut decoder =
        Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: budget.saturating_add(WORKING_BYTES) });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.ignore_checksums(false);
    // These chunks are not used, and can decompress to many times their size.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.read_info()
}

fn to_rgb(samples: Vec<u8>, colours: ColorType) -> Vec<u8> {
    match colours {
        ColorType::Rgba => samples.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        ColorType::Grayscale => samples.iter().flat_map(|&grey| [grey; 3]).collect(),
        ColorType::GrayscaleAlpha => samples.chunks_exact(2).flat_map(|pixel| [pixel[0]; 3]).collect(),
        // EXPAND has turned a palette into RGB.
        ColorType::Rgb | ColorType::Indexed => samples,
    }
}
