//! JPEG through libjpeg-turbo. `docs/decisions/jpeg-decoder.md` has the reasons.
//!
//! libjpeg reports damage as a warning and fills the rest of the image with grey, so a warning is an error here. Some
//! warnings are harmless, because all pixels are decoded. libjpeg reports only the first warning of a file, and damage may
//! follow a harmless one. So after a harmless warning the file is decoded again without its cause ([`header::repair`]);
//! if that is not possible, each restart interval is decoded separately ([`intervals::all_complete`]).

mod header;
mod intervals;
mod warning;

use std::borrow::Cow;

use turbojpeg::{Colorspace, DecompressHeader, Decompressor, PixelFormat};

use super::Decoded;
use super::orientation::Orientation;
use crate::pixels;
use warning::Warning;

/// Limits of the number of scans. A progressive file may announce any number over the same pixels, and each scan takes time for
/// every pixel; encoders write about ten.
const MIN_SCAN_LIMIT: usize = 20;
const MAX_SCAN_LIMIT: usize = 100;
/// Most pixels times scans, between these limits.
const MAX_SCANNED_PIXELS: usize = 500_000_000;

/// Width and height in pixels.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), String> {
    let (header, _) = read_header(&mut decompressor()?, bytes)?;
    match (u32::try_from(header.width), u32::try_from(header.height)) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err("the header announces an impossible size".to_owned()),
    }
}

/// Decodes a file whose header announces this size.
pub fn decode(bytes: &[u8], width: u32, height: u32) -> Result<Decoded, String> {
    let mut decompressor = decompressor()?;
    let (header, readable) = read_header(&mut decompressor, bytes)?;
    let is_cmyk = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if is_cmyk { PixelFormat::CMYK } else { PixelFormat::RGB };
    let scans = scan_limit(width as usize * height as usize);
    decompressor.set_scan_limit(scans).map_err(|error| error.to_string())?;
    let pixels = decompress(&mut decompressor, &readable, (width as usize, height as usize), format)?;
    let pixels = if is_cmyk { ink_to_rgb(&pixels) } else { pixels };
    Ok((pixels, header::exif(bytes).map_or(Orientation::UPRIGHT, Orientation::from_exif)))
}

/// The header, and the file that it was read from: the given one, or a repaired copy if the given one has a harmless fault in
/// its header.
fn read_header<'bytes>(
    decompressor: &mut Decompressor,
    bytes: &'bytes [u8],
) -> Result<(DecompressHeader, Cow<'bytes, [u8]>), String> {
    let error = match decompressor.read_header(bytes) {
        Ok(header) => return Ok((header, Cow::Borrowed(bytes))),
        Err(error) => header_fault(&error),
    };
    if Warning::parse(&error).is_none() {
        return Err(error);
    }
    let repaired = header::repair(bytes).ok_or(error)?;
    let header = decompressor.read_header(&repaired).map_err(|error| header_fault(&error))?;
    Ok((header, Cow::Owned(repaired)))
}

/// Why a header cannot be read. libjpeg reports no error for a file that ends before its size, and a size of -1.
fn header_fault(error: &turbojpeg::Error) -> String {
    match error {
        turbojpeg::Error::IntegerOverflow(_) => "it ends before the size in its header".to_owned(),
        other => other.to_string(),
    }
}

/// Packed rows of `width * format.size()` bytes.
fn decompress(
    decompressor: &mut Decompressor,
    bytes: &[u8],
    (width, height): (usize, usize),
    format: PixelFormat,
) -> Result<Vec<u8>, String> {
    let pitch = width * format.size();
    // libjpeg writes every byte, even after a warning. If it fails, the buffer is dropped.
    let mut pixels = pixels::buffer(pitch * height);
    let mut attempt = |bytes: &[u8]| {
        let output = turbojpeg::Image { pixels: &mut pixels[..], width, pitch, height, format };
        decompressor.decompress(bytes, output).map_err(|error| error.to_string())
    };
    let Err(first) = attempt(bytes) else { return Ok(pixels) };
    let Some(warning) = Warning::parse(&first) else { return Err(first) };
    let repaired = header::repair(bytes).ok_or(first)?;
    let (warning, error) = match attempt(&repaired) {
        Ok(()) => return Ok(pixels),
        Err(second) => (Warning::parse(&second).unwrap_or(warning), second),
    };
    if Warning::parse(&error).is_some() && is_complete(&repaired, warning) { Ok(pixels) } else { Err(error) }
}

/// Whether all pixels of a repaired file are decoded, although this warning came first.
fn is_complete(repaired: &[u8], warning: Warning) -> bool {
    match warning {
        // These bytes are read last, so no other warning can follow.
        Warning::StrayBytes { marker: header::END_OF_IMAGE, .. } => true,
        Warning::StrayBytes { marker, .. } if header::is_restart(marker) => intervals::all_complete(repaired),
        Warning::StrayBytes { .. } | Warning::Header => false,
    }
}

fn decompressor() -> Result<Decompressor, String> {
    Decompressor::new().map_err(|error| error.to_string())
}

/// Largest number of scans of an image with this many pixels.
fn scan_limit(pixels: usize) -> u32 {
    (MAX_SCANNED_PIXELS / pixels.max(1)).clamp(MIN_SCAN_LIMIT, MAX_SCAN_LIMIT) as u32
}

/// Converts CMYK to RGB without colour management. JPEG stores CMYK inverted: 255 means no ink.
fn ink_to_rgb(pixels: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(pixels.len() / 4 * 3);
    for is_cmyk in pixels.chunks_exact(4) {
        let black = u16::from(is_cmyk[3]);
        rgb.extend(is_cmyk[..3].iter().map(|&colour| ((u16::from(colour) * black + 127) / 255) as u8));
    }
    rgb
}

#[cfg(test)]
mod tests;
