//! Encoded image in, upright [`Pixels`] out.
//!
//! The first bytes decide the format, not the declared media type. The size in the header is checked before a buffer is
//! allocated, so a small file cannot request a large buffer. Decoding is strict: a truncated or damaged file is an
//! error, because decoders would fill the missing part with grey, and a detector would find nothing there. Faults that
//! change no pixel are tolerated. No input makes [`decode`] panic.

mod jpeg;
mod orientation;
mod png;
mod webp;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use contracts::{FailureCode, MAX_IMAGE_SIDE};
use platform::one_line;

use crate::pixels::Pixels;
use orientation::Orientation;

/// The supported encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Baseline, progressive or arithmetic JPEG.
    Jpeg,
    /// PNG of any depth. An animated one gives its default image.
    Png,
    /// Lossy or lossless WebP. An animated one gives its first frame, at its position on the canvas.
    Webp,
}

impl Format {
    /// The format of a file, from its first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else {
            None
        }
    }

    /// The media type, such as `image/jpeg`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Webp => "WebP",
        })
    }
}

/// Limits of one decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest width times height. A decode needs up to about ten bytes of memory per pixel.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 25_000_000 }
    }
}

impl DecodeLimits {
    /// Checks the size of an image.
    ///
    /// # Errors
    /// It has too many pixels, or a side is too long.
    pub fn check(&self, header: &Header) -> Result<(), DecodeError> {
        let Header { width, height, .. } = *header;
        if header.pixels() > self.max_pixels {
            return Err(DecodeError::TooLarge { width, height, limit: self.max_pixels });
        }
        if width.max(height) > MAX_IMAGE_SIDE {
            return Err(DecodeError::TooLong { width, height });
        }
        Ok(())
    }
}

/// The header of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The encoding.
    pub format: Format,
    /// Stored width in pixels, before the EXIF orientation is applied.
    pub width: u32,
    /// Stored height in pixels, before the EXIF orientation is applied.
    pub height: u32,
}

impl Header {
    /// Width times height.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// Why an image cannot be decoded. Every cause is permanent: the same bytes fail again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The format is not supported.
    #[error("not a JPEG, PNG or WebP image")]
    Unsupported,
    /// The header announces more pixels than the limits allow.
    #[error("image of {width}x{height} pixels is above the limit of {limit} pixels")]
    TooLarge {
        /// Width in the header.
        width: u32,
        /// Height in the header.
        height: u32,
        /// Largest allowed number of pixels.
        limit: u64,
    },
    /// The header announces a side of more than [`MAX_IMAGE_SIDE`] pixels.
    #[error("image of {width}x{height} pixels has a side above the limit of {MAX_IMAGE_SIDE} pixels")]
    TooLong {
        /// Width in the header.
        width: u32,
        /// Height in the header.
        height: u32,
    },
    /// Damaged, truncated, or of a kind that the decoder does not support.
    #[error("cannot decode {format} image: {cause}")]
    Undecodable {
        /// Format of the first bytes.
        format: Format,
        /// The decoder's error.
        cause: String,
    },
}

impl DecodeError {
    /// The code of the failed result.
    pub fn failure_code(&self) -> FailureCode {
        match self {
            Self::TooLarge { .. } | Self::TooLong { .. } => FailureCode::TooLarge,
            Self::Unsupported | Self::Undecodable { .. } => FailureCode::Undecodable,
        }
    }
}

/// Reads format and size from the header, in microseconds and without decoding pixels.
///
/// # Errors
/// As [`decode`], as far as the header shows. A size above the limits is not an error.
pub fn probe(bytes: &[u8]) -> Result<Header, DecodeError> {
    let format = Format::of(bytes).ok_or(DecodeError::Unsupported)?;
    let (width, height) = guarded(format, || match format {
        Format::Jpeg => jpeg::size(bytes),
        Format::Png => png::size(bytes),
        Format::Webp => webp::size(bytes),
    })?;
    Ok(Header { format, width, height })
}

/// Decodes a JPEG, PNG or WebP image and applies its EXIF orientation.
///
/// Grey and palette images become RGB, 16 bits become 8, alpha is dropped, and CMYK is converted without colour management.
///
/// # Errors
/// See [`DecodeError`]. All are permanent.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Pixels, DecodeError> {
    let header = probe(bytes)?;
    limits.check(&header)?;
    let Header { format, width, height } = header;
    let (pixels, orientation) = guarded(format, || match format {
        Format::Jpeg => jpeg::decode(bytes, width, height),
        Format::Png => png::decode(bytes, limits),
        Format::Webp => webp::decode(bytes, limits),
    })?;
    let image = Pixels::from_rgb(width, height, pixels).ok_or_else(|| DecodeError::Undecodable {
        format,
        cause: "the image has another size than its header".to_owned(),
    })?;
    Ok(orientation.upright(image))
}

/// Packed RGB rows as stored, and their orientation.
type Decoded = (Vec<u8>, Orientation);

/// Runs a decoder. Its panic is an error of this image.
fn guarded<T>(format: Format, decoder: impl FnOnce() -> Result<T, String>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(decoder))
        .unwrap_or_else(|_| Err("the decoder panicked".to_owned()))
        .map_err(|cause| DecodeError::Undecodable { format, cause: one_line(&cause) })
}

#[cfg(test)]
mod tests;
