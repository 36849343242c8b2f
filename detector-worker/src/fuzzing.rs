//! What must hold for whatever bytes arrive as a picture: the body of the fuzz target, run by `scripts/fuzz` over inputs it
//! makes up and by the test below over those that are kept in `fuzz/corpus`. Built for these two only.

#[path = "../../fuzz/reason.rs"]
mod reason;

use crate::media::{DecodeError, DecodeLimits, Format, decode, probe};
use reason::assert_clean;

/// Small, so that many pictures are decoded in a second.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 16 };

/// A picture: refused with a reason, or decoded to what its header says, within the limits, and always to the same pixels.
pub fn decoding(data: &[u8]) {
    let header = probe(data);
    match decode(data, &LIMITS) {
        Ok(image) => {
            let sides = header.as_ref().map(|header| (header.width, header.height)).unwrap_or_default();
            let turned = (sides.1, sides.0);
            assert!([sides, turned].contains(&(image.width(), image.height())), "{header:?}");
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert!((1..=LIMITS.max_pixels).contains(&pixels), "{pixels} pixels");
            assert_eq!(image.pixels().len() as u64, pixels * 3);
            assert_eq!(decode(data, &LIMITS).as_ref(), Ok(&image), "the same bytes, another picture");
        }
        Err(error) => {
            assert_clean(&error);
            match error {
                DecodeError::Unsupported => assert_eq!(Format::of(data), None),
                DecodeError::TooLarge { width, height, limit } => {
                    assert!(u64::from(width) * u64::from(height) > limit);
                    assert_eq!(header.map(|header| (header.width, header.height)), Ok((width, height)));
                }
                DecodeError::Undecodable { format, .. } => assert_eq!(Format::of(data), Some(format)),
            }
        }
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn whatever_arrives_as_a_picture_is_decoded_or_refused() {
        replay("decoding", super::decoding);
    }
}
