//! Encoded image bytes in; an upright [`Pixels`] out.
//!
//! The format is told by the first bytes, never by what the sender claims. Sizes are read from the header and checked
//! before anything of their order is allocated, so a small file cannot ask for a large buffer. Decoding is strict: a
//! truncated or damaged file is an error and not a half-grey image, because a detector would answer "nothing there" for
//! what nobody saw. No input makes [`decode`] panic.

mod jpeg;
mod orientation;
mod png;
mod webp;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use contracts::FailureCode;

use crate::pixels::Pixels;
use orientation::Orientation;

/// The encodings this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Baseline, progressive or arithmetic JPEG.
    Jpeg,
    /// PNG of any depth; of an animated one the default image.
    Png,
    /// Lossy or lossless WebP; of an animated one the first image.
    Webp,
}

impl Format {
    /// Tells the format by the first bytes.
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

/// What a decode may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height of the image. A decode needs up to about ten bytes of memory for each.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 25_000_000 }
    }
}

/// What the header says of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How it is encoded.
    pub format: Format,
    /// Stored width in pixels, before it is turned upright.
    pub width: u32,
    /// Stored height in pixels, before it is turned upright.
    pub height: u32,
}

impl Header {
    /// Width times height: what a decode costs.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// Why bytes gave no image. Every cause is permanent: the same bytes fail again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first bytes are those of no format read here.
    #[error("not a JPEG, PNG or WebP image")]
    Unsupported,
    /// The header announces more pixels than the limits allow.
    #[error("image of {width}x{height} pixels is above the limit of {limit} pixels")]
    TooLarge {
        /// Width in the header.
        width: u32,
        /// Height in the header.
        height: u32,
        /// The most pixels allowed.
        limit: u64,
    },
    /// Damaged, truncated, or of a kind the decoder does not know.
    #[error("cannot decode {format} image: {cause}")]
    Undecodable {
        /// What the first bytes announced.
        format: Format,
        /// What the decoder said.
        cause: String,
    },
}

impl DecodeError {
    /// What the failed result says.
    pub fn failure(&self) -> FailureCode {
        match self {
            Self::TooLarge { .. } => FailureCode::TooLarge,
            Self::Unsupported | Self::Undecodable { .. } => FailureCode::Undecodable,
        }
    }
}

/// Reads format and size from the header, in microseconds and without touching the pixels.
///
/// # Errors
/// As [`decode`], as far as the header betrays it; sizes above any limit are reported, not refused.
pub fn probe(bytes: &[u8]) -> Result<Header, DecodeError> {
    let format = Format::of(bytes).ok_or(DecodeError::Unsupported)?;
    let (width, height) = guarded(format, || match format {
        Format::Jpeg => jpeg::size(bytes),
        Format::Png => png::size(bytes),
        Format::Webp => webp::size(bytes),
    })?;
    Ok(Header { format, width, height })
}

/// Decodes a JPEG, PNG or WebP image and turns it upright as its EXIF orientation says.
///
/// Grey and palette images become RGB, 16 bits become 8, alpha is dropped, CMYK is converted without colour management.
///
/// # Errors
/// Always permanent; see [`DecodeError`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Pixels, DecodeError> {
    let Header { format, width, height } = probe(bytes).and_then(|header| within(header, limits))?;
    let (pixels, orientation) = guarded(format, || match format {
        Format::Jpeg => jpeg::decode(bytes, width, height),
        Format::Png => png::decode(bytes, limits),
        Format::Webp => webp::decode(bytes, limits),
    })?;
    let image = Pixels::from_rgb(width, height, pixels).ok_or_else(|| DecodeError::Undecodable {
        format,
        cause: "the image is not as large as its header says".to_owned(),
    })?;
    Ok(orientation.upright(image))
}

fn within(header: Header, limits: &DecodeLimits) -> Result<Header, DecodeError> {
    if header.pixels() <= limits.max_pixels {
        return Ok(header);
    }
    Err(DecodeError::TooLarge { width: header.width, height: header.height, limit: limits.max_pixels })
}

/// Packed RGB rows as stored, and how to turn them upright.
type Decoded = (Vec<u8>, Orientation);

/// Runs a decoder so that even its panic is an error of this image alone.
fn guarded<T>(format: Format, decoder: impl FnOnce() -> Result<T, String>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(decoder))
        .unwrap_or_else(|_| Err("the decoder gave up".to_owned()))
        .map_err(|cause| DecodeError::Undecodable { format, cause })
}

#[cfg(test)]
mod tests;
