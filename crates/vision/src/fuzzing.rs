//! The body of the fuzz target `decoding`. `scripts/fuzz` runs it on generated inputs; the test below runs it on the inputs
//! in `fuzz/corpus`. It is compiled for these two only.

#[path = "../../../fuzz/reason.rs"]
mod reason;

use crate::media::{DecodeError, DecodeLimits, Format, decode, probe};
use reason::assert_clean;

/// Small, so that many images are decoded per second.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 16 };

/// Decodes any bytes. Either they are refused with a reason, or the pixels have the header's size, are within the limits, and
/// are the same on every decode.
pub fn decoding(data: &[u8]) {
    let header = probe(data);
    match decode(data, &LIMITS) {
        Ok(pixels) => {
            let stored = header.as_ref().map(|header| (header.width, header.height)).unwrap_or_default();
            let rotated = (stored.1, stored.0);
            assert!([stored, rotated].contains(&(pixels.width(), pixels.height())), "{header:?}");
            let count = u64::from(pixels.width()) * u64::from(pixels.height());
            assert!((1..=LIMITS.max_pixels).contains(&count), "{count} pixels");
            assert_eq!(pixels.rgb().len() as u64, count * 3);
            assert_eq!(decode(data, &LIMITS).as_ref(), Ok(&pixels), "the same bytes gave other pixels");
        }
        Err(error) => {
            assert_clean(&error);
            match error {
                DecodeError::Unsupported => assert_eq!(Format::of(data), None),
                DecodeError::TooLarge { width, height, limit } => {
                    assert!(u64::from(width) * u64::from(height) > limit);
                    assert_eq!(header.map(|header| (header.width, header.height)), Ok((width, height)));
                }
                DecodeError::TooLong { width, height } => {
                    assert!(width.max(height) > contracts::MAX_IMAGE_SIDE);
                    assert_eq!(header.map(|header| (header.width, header.height)), Ok((width, height)));
                }
                DecodeError::Undecodable { format, .. } => assert_eq!(Format::of(data), Some(format)),
            }
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn any_bytes_are_decoded_or_refused() {
        replay("decoding", super::decoding);
    }
}
