//! Type and size of an image from its first bytes. Nothing is decoded.
//!
//! In: the bytes that have arrived so far, a growing prefix. Out: type, width and height as soon as the bytes show them, or that
//! this is not an accepted image. Each byte is parsed once, even with small chunks.

/// The accepted image types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageType {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
}

impl ImageType {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
        }
    }

    /// The type by the first bytes.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match recognise(bytes) {
            Signature::Of(kind) => Some(kind),
            Signature::Incomplete | Signature::Unknown => None,
        }
    }
}

/// The name of a type of image that is not accepted, by the first bytes: HEIC, AVIF, GIF, BMP or TIFF.
pub fn other_image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => by_brands(brands),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("GIF"),
        // The size of the file, then four bytes that are 0.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some("BMP"),
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Some("TIFF"),
        _ => None,
    }
}

/// Most brands that are compared: a file lists the main one, its version and a few others.
const MAX_BRANDS: usize = 16;

/// The type of a file in the ISO base media format, by its brands (ISO/IEC 23008-12, and the AV1 image format). AVIF first: its files
/// may also have the general brand `mif1`. Videos have other brands.
fn by_brands(brands: &[u8]) -> Option<&'static str> {
    let brands: Vec<&[u8]> = brands.chunks_exact(4).take(MAX_BRANDS).collect();
    let has = |names: &[&[u8]]| brands.iter().any(|brand| names.contains(brand));
    if has(&[b"avif", b"avis"]) {
        return Some("AVIF");
    }
    has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]).then_some("HEIC")
}

/// The result for the bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// More bytes are needed.
    Incomplete,
    /// An image of this size.
    Image {
        /// Its type.
        kind: ImageType,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// None of the accepted types.
    NotAnImage,
    /// It begins like this type, but its header is invalid.
    Broken(ImageType),
}

/// Parses the header of an image while it arrives.
#[derive(Debug, Default)]
pub struct Probe {
    /// Offset in the segments of a JPEG.
    at: usize,
}

impl Probe {
    /// Parses all bytes that have arrived so far.
    pub fn update(&mut self, bytes: &[u8]) -> Finding {
        let kind = match recognise(bytes) {
            Signature::Of(kind) => kind,
            Signature::Incomplete => return Finding::Incomplete,
            Signature::Unknown => return Finding::NotAnImage,
        };
        let size = match kind {
            ImageType::Jpeg => self.jpeg(bytes),
            ImageType::Png => png(bytes),
            ImageType::Webp => webp(bytes),
        };
        match size {
            Size::Known(width, height) => Finding::Image { kind, width, height },
            Size::Incomplete => Finding::Incomplete,
            Size::Broken => Finding::Broken(kind),
        }
    }

    /// Follows the markers up to the frame header (SOF), which contains the size.
    fn jpeg(&mut self, bytes: &[u8]) -> Size {
        self.at = self.at.max(2);
        loop {
            let Some(rest) = bytes.get(self.at..) else { return Size::Incomplete };
            // There may be stray bytes between segments, and a marker may begin with several 0xFF.
            let Some(start) = rest.windows(2).position(|pair| pair[0] == 0xff && pair[1] != 0xff) else {
                self.at += rest.len().saturating_sub(1);
                return Size::Incomplete;
            };
            self.at += start;
            let segment = &bytes[self.at..];
            match segment[1] {
                0x00 | 0x01 | 0xd0..=0xd8 => self.at += 2,
                // End of image, or image data: the frame header must come before.
                0xd9 | 0xda => return Size::Broken,
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    return match segment.get(5..9) {
                        Some(size) => Size::Known(be16(&size[2..]), be16(size)),
                        None => Size::Incomplete,
                    };
                }
                _ => match segment.get(2..4).map(be16) {
                    None => return Size::Incomplete,
                    Some(..2) => return Size::Broken,
                    Some(length) => self.at += 2 + length as usize,
                },
            }
        }
    }
}

/// The file signature at the beginning of the bytes.
enum Signature {
    Of(ImageType),
    Incomplete,
    Unknown,
}

const JPEG: &[u8] = &[0xff, 0xd8, 0xff];
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn recognise(bytes: &[u8]) -> Signature {
    let could_be = |magic: &[u8]| bytes.iter().zip(magic).all(|(byte, expected)| byte == expected);
    let webp = could_be(b"RIFF") && bytes.iter().skip(8).zip(b"WEBP").all(|(byte, expected)| byte == expected);
    let (kind, length) = match () {
        () if could_be(JPEG) => (ImageType::Jpeg, JPEG.len()),
        () if could_be(PNG) => (ImageType::Png, PNG.len()),
        () if webp => (ImageType::Webp, 12),
        () => return Signature::Unknown,
    };
    if bytes.len() >= length { Signature::Of(kind) } else { Signature::Incomplete }
}

/// Width and height in pixels.
enum Size {
    Known(u32, u32),
    Incomplete,
    Broken,
}

fn png(bytes: &[u8]) -> Size {
    match (bytes.get(8..16), bytes.get(16..24)) {
        (Some(head), _) if head != b"\0\0\0\x0dIHDR" => Size::Broken,
        (Some(_), Some(size)) => Size::Known(be32(size), be32(&size[4..])),
        _ => Size::Incomplete,
    }
}

fn webp(bytes: &[u8]) -> Size {
    let Some(data) = bytes.get(20..) else { return Size::Incomplete };
    match &bytes[12..16] {
        b"VP8 " => match (data.get(3..6), data.get(6..10)) {
            (Some(start), _) if start != [0x9d, 0x01, 0x2a] => Size::Broken,
            (Some(_), Some(size)) => Size::Known(le(&size[..2]) & 0x3fff, le(&size[2..]) & 0x3fff),
            _ => Size::Incomplete,
        },
        b"VP8L" => match (data.first(), data.get(1..5).map(le)) {
            (Some(signature), _) if *signature != 0x2f => Size::Broken,
            (Some(_), Some(bits)) => Size::Known((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1),
            _ => Size::Incomplete,
        },
        b"VP8X" => match data.get(4..10) {
            Some(size) => Size::Known(le(&size[..3]) + 1, le(&size[3..]) + 1),
            None => Size::Incomplete,
        },
        _ => Size::Broken,
    }
}

fn be16(bytes: &[u8]) -> u32 {
    bytes.iter().take(2).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn le(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png_head(width: u32, height: u32) -> Vec<u8> {
        [PNG, b"\0\0\0\x0dIHDR", &width.to_be_bytes(), &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat()
    }

    fn jpeg_head(width: u16, height: u16) -> Vec<u8> {
        let app = [&[0xff, 0xe1, 0x01, 0x02][..], &[0xff; 256]].concat();
        let frame = [&[0xff, 0xff, 0xc2, 0, 17, 8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[3, 1]].concat();
        [&[0xff, 0xd8][..], &app, &[0x12, 0x34], &frame].concat()
    }

    fn webp_head(chunk: &[u8; 4], data: &[u8]) -> Vec<u8> {
        [b"RIFF\x40\0\0\0WEBP", &chunk[..], b"\x20\0\0\0", data].concat()
    }

    fn image(kind: ImageType, width: u32, height: u32) -> Finding {
        Finding::Image { kind, width, height }
    }

    #[test]
    fn size_is_found_in_every_type_and_any_chunks() {
        for (bytes, expected) in [
            (png_head(60_000, 60_000), image(ImageType::Png, 60_000, 60_000)),
            (jpeg_head(640, 480), image(ImageType::Jpeg, 640, 480)),
            (webp_head(b"VP8 ", b"\0\0\0\x9d\x01\x2a\x40\x01\xf0\x40"), image(ImageType::Webp, 320, 240)),
            (webp_head(b"VP8L", b"\x2f\x3f\xc1\x3b\0"), image(ImageType::Webp, 320, 240)),
            (webp_head(b"VP8X", b"\0\0\0\0\x3f\x01\0\xef\0\0"), image(ImageType::Webp, 320, 240)),
        ] {
            let mut probe = Probe::default();
            let first =
                (1..=bytes.len()).map(|arrived| probe.update(&bytes[..arrived])).find(|f| *f != Finding::Incomplete);
            assert_eq!(first, Some(expected));
            assert_eq!(Probe::default().update(&bytes), expected, "all at once");
        }
    }

    #[test]
    fn other_files_are_refused_by_their_first_bytes() {
        for bytes in [&b"GIF89a"[..], b"<html>", b"PK\x03\x04", b"RIFF\0\0\0\0WAVE", b"\xff\xd9", b"{}"] {
            assert_eq!(Probe::default().update(bytes), Finding::NotAnImage, "{bytes:?}");
        }
    }

    #[test]
    fn types_that_are_not_accepted_have_names() {
        for (bytes, expected) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], Some("HEIC")),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Some("HEIC")),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", Some("AVIF")),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", Some("AVIF")),
            (b"GIF87a", Some("GIF")),
            (b"GIF89a\x01\0", Some("GIF")),
            (b"BM\x46\0\0\0\0\0\0\0\x36\0", Some("BMP")),
            (b"II*\0\x08\0\0\0", Some("TIFF")),
            (b"MM\0*\0\0\0\x08", Some("TIFF")),
            (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", None),
            (b"BMW and other cars", None),
            (b"GIF", None),
            (b"", None),
        ] {
            assert_eq!(other_image_type(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_invalid_header_is_broken() {
        for (bytes, kind) in [
            ([JPEG, &[0xda, 0, 8]].concat(), ImageType::Jpeg),
            ([JPEG, &[0xe0, 0, 1]].concat(), ImageType::Jpeg),
            ([PNG, b"\0\0\0\x0dJUNK"].concat(), ImageType::Png),
            (webp_head(b"JUNK", b""), ImageType::Webp),
            (webp_head(b"VP8 ", b"\0\0\0abc"), ImageType::Webp),
            (webp_head(b"VP8L", b"x"), ImageType::Webp),
        ] {
            assert_eq!(Probe::default().update(&bytes), Finding::Broken(kind), "{bytes:?}");
        }
    }

    #[test]
    fn no_bytes_cause_a_panic() {
        let heads = [jpeg_head(9, 9), png_head(9, 9), webp_head(b"VP8 ", &[0; 9])];
        for head in &heads {
            for at in 0..head.len() {
                for value in [0, 1, 0xda, 0xff] {
                    let mut bytes = head.clone();
                    bytes[at] = value;
                    let mut probe = Probe::default();
                    (0..=bytes.len()).for_each(|arrived| {
                        probe.update(&bytes[..arrived]);
                    });
                }
            }
        }
    }
}
