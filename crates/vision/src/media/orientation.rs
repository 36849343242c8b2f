//! Reads the EXIF orientation and turns pixels upright.

use crate::pixels::Pixels;

const ORIENTATION_TAG: u16 = 0x0112;
const TYPE_SHORT: u16 = 3;

/// The EXIF orientation of stored pixels, 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(u16);

impl Orientation {
    /// Stored upright.
    pub const UPRIGHT: Self = Self(1);

    /// Reads the tag from an EXIF block (a TIFF file, with or without the `Exif\0\0` that precedes it in JPEG).
    /// An invalid block means upright, as in every viewer.
    pub fn from_exif(block: &[u8]) -> Self {
        let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        find_orientation(tiff).filter(|value| (1..=8).contains(value)).map_or(Self::UPRIGHT, Self)
    }

    /// The upright pixels.
    pub fn upright(self, pixels: Pixels) -> Pixels {
        let (width, height) = (pixels.width(), pixels.height());
        let (right, bottom) = (width as usize - 1, height as usize - 1);
        // Each arm maps an upright column c and row r to the stored (x, y).
        match self.0 {
            2 => pixels.rearranged(width, height, |c, r| (right - c, r)),
            3 => pixels.rearranged(width, height, |c, r| (right - c, bottom - r)),
            4 => pixels.rearranged(width, height, |c, r| (c, bottom - r)),
            5 => pixels.rearranged(height, width, |c, r| (r, c)),
            6 => pixels.rearranged(height, width, |c, r| (r, bottom - c)),
            7 => pixels.rearranged(height, width, |c, r| (right - r, bottom - c)),
            8 => pixels.rearranged(height, width, |c, r| (right - r, c)),
            _ => pixels,
        }
    }
}

fn find_orientation(tiff: &[u8]) -> Option<u16> {
    let big_endian = match tiff.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let short = |at: usize| {
        let pair: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let directory: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let directory = if big_endian { u32::from_be_bytes(directory) } else { u32::from_le_bytes(directory) } as usize;
    let entries = usize::from(short(directory)?);
    (0..entries)
        .map(|index| directory + 2 + index * 12)
        .find(|&entry| short(entry) == Some(ORIENTATION_TAG) && short(entry + 2) == Some(TYPE_SHORT))
        .and_then(|entry| short(entry + 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exif(value: u16) -> Vec<u8> {
        let mut block = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        block.extend(value.to_le_bytes());
        block.extend([0; 6]);
        block
    }

    #[test]
    fn both_byte_orders_are_read_and_nonsense_is_upright() {
        assert_eq!(Orientation::from_exif(&exif(6)), Orientation(6));
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0";
        assert_eq!(Orientation::from_exif(big), Orientation(8));
        for nonsense in [&b""[..], b"Exif\0\0", b"II*\0\xff\xff\xff\xff", &exif(9), &exif(0), &exif(6)[..20]] {
            assert_eq!(Orientation::from_exif(nonsense), Orientation::UPRIGHT);
        }
    }

    #[test]
    fn each_of_the_eight_orientations_is_undone() {
        // Upright: a b c / d e f. Stored as in the EXIF standard's drawings of the letter F.
        let stored: [(u16, u32, &[u8]); 8] = [
            (1, 3, b"abcdef"),
            (2, 3, b"cbafed"),
            (3, 3, b"fedcba"),
            (4, 3, b"defabc"),
            (5, 2, b"adbecf"),
            (6, 2, b"cfbead"),
            (7, 2, b"fcebda"),
            (8, 2, b"daebfc"),
        ];
        for (value, width, letters) in stored {
            let pixels = letters.iter().flat_map(|&letter| [letter; 3]).collect();
            let pixels = Pixels::from_rgb(width, 6 / width, pixels).unwrap();
            let upright = Orientation(value).upright(pixels);
            let seen: Vec<u8> = upright.rgb().iter().step_by(3).copied().collect();
            assert_eq!((upright.width(), seen.as_slice()), (3, &b"abcdef"[..]), "orientation {value}");
        }
    }
}
