//! JPEG through libjpeg-turbo (`docs/decisions/jpeg-decoder.md` has the figures).

use turbojpeg::{Colorspace, Decompressor, PixelFormat};

use super::Decoded;
use super::orientation::Orientation;
use crate::pixels;

/// A progressive file may announce any number of scans over the same pixels; honest encoders write about ten.
const MAX_SCANS: u32 = 100;

const START_OF_SCAN: u8 = 0xda;
const APP1: u8 = 0xe1;

pub fn size(bytes: &[u8]) -> Result<(u32, u32), String> {
    let header = decompressor()?.read_header(bytes).map_err(|error| error.to_string())?;
    match (u32::try_from(header.width), u32::try_from(header.height)) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err("the header announces an impossible size".to_owned()),
    }
}

pub fn decode(bytes: &[u8], width: u32, height: u32) -> Result<Decoded, String> {
    let mut decompressor = decompressor()?;
    let header = decompressor.read_header(bytes).map_err(|error| error.to_string())?;
    let ink = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if ink { PixelFormat::CMYK } else { PixelFormat::RGB };
    let (width, height) = (width as usize, height as usize);
    let pitch = width * format.size();
    // Every byte is written: what the decoder leaves out makes the whole image an error.
    let mut pixels = pixels::buffer(pitch * height);
    let output = turbojpeg::Image { pixels: &mut pixels[..], width, pitch, height, format };
    // libjpeg reports damage as warnings and fills the rest with grey; the crate makes each warning an error, as wanted here.
    decompressor.decompress(bytes, output).map_err(|error| error.to_string())?;
    let pixels = if ink { ink_to_rgb(&pixels) } else { pixels };
    Ok((pixels, orientation(bytes)))
}

fn decompressor() -> Result<Decompressor, String> {
    let mut decompressor = Decompressor::new().map_err(|error| error.to_string())?;
    decompressor.set_scan_limit(MAX_SCANS).map_err(|error| error.to_string())?;
    Ok(decompressor)
}

/// Four-colour JPEGs store their inks inverted: 255 is no ink.
fn ink_to_rgb(pixels: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(pixels.len() / 4 * 3);
    for ink in pixels.chunks_exact(4) {
        let black = u16::from(ink[3]);
        rgb.extend(ink[..3].iter().map(|&colour| ((u16::from(colour) * black + 127) / 255) as u8));
    }
    rgb
}

/// Walks the segments before the image data to the EXIF block.
fn orientation(bytes: &[u8]) -> Orientation {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, tail @ ..] = rest {
        match *marker {
            0xff => rest = &rest[1..],
            START_OF_SCAN => break,
            marker => {
                let Some((length, body)) = tail.split_first_chunk::<2>() else { break };
                let length = usize::from(u16::from_be_bytes(*length)).saturating_sub(2);
                let Some((segment, next)) = body.split_at_checked(length) else { break };
                if marker == APP1 && segment.starts_with(b"Exif\0\0") {
                    return Orientation::from_exif(segment);
                }
                rest = next;
            }
        }
    }
    Orientation::UPRIGHT
}
