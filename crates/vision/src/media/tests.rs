//! Generated images in every format, whole and damaged.

use turbojpeg::{PixelFormat, Subsamp};

use super::*;

const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1_000_000 };

/// A gradient with a red corner at the top left, so that every orientation looks different.
fn rgb(width: usize, height: usize) -> Vec<u8> {
    let pixel = |x: usize, y: usize| match (x * 4 < width, y * 4 < height) {
        (true, true) => [250, 10, 10],
        _ => [(x * 200 / width) as u8, (y * 200 / height) as u8, 90],
    };
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

fn jpeg(width: usize, height: usize) -> Vec<u8> {
    let pixels = rgb(width, height);
    let image = turbojpeg::Image { pixels: &pixels[..], width, pitch: width * 3, height, format: PixelFormat::RGB };
    turbojpeg::compress(image, 95, Subsamp::None).unwrap().to_vec()
}

fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

/// Puts an EXIF segment right behind the start of the file.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let block = [b"Exif\0\0".as_slice(), &exif(orientation)].concat();
    let length = (block.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &block, &jpeg[2..]].concat()
}

fn png(width: u32, height: u32, colours: ::png::ColorType, depth: ::png::BitDepth, samples: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colours);
    encoder.set_depth(depth);
    if colours == ::png::ColorType::Indexed {
        encoder.set_palette(vec![1, 2, 3, 40, 50, 60]);
    }
    encoder.write_header().unwrap().write_image_data(samples).unwrap();
    bytes
}

fn webp(width: u32, height: u32, orientation: Option<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut bytes);
    if let Some(orientation) = orientation {
        encoder.set_exif_metadata(exif(orientation));
    }
    let pixels = rgb(width as usize, height as usize);
    encoder.encode(&pixels, width, height, image_webp::ColorType::Rgb8).unwrap();
    bytes
}

fn pixel(pixels: &Pixels, x: u32, y: u32) -> [u8; 3] {
    let start = ((y * pixels.width() + x) * 3) as usize;
    pixels.rgb()[start..start + 3].try_into().unwrap()
}

fn is_red(pixels: &Pixels, x: u32, y: u32) -> bool {
    let [red, green, _] = pixel(pixels, x, y);
    red > 200 && green < 60
}

#[test]
fn a_file_that_ends_in_its_header_is_named_as_such() {
    let whole = jpeg(64, 48);
    for length in 3..=20 {
        let error = decode(&whole[..length], &LIMITS).unwrap_err().to_string();
        assert!(!error.contains("integer value"), "{length} bytes: {error}");
    }
    let error = decode(&whole[..3], &LIMITS).unwrap_err().to_string();
    assert_eq!(error, "cannot decode JPEG image: it ends before the size in its header");
}

#[test]
fn each_exif_orientation_of_a_jpeg_is_turned_upright() {
    // Where the stored top left corner is seen for the values 1 to 8: right?, bottom?, sides swapped?
    let seen = [
        (0, 0, false),
        (1, 0, false),
        (1, 1, false),
        (0, 1, false),
        (0, 0, true),
        (1, 0, true),
        (1, 1, true),
        (0, 1, true),
    ];
    let stored = jpeg(64, 32);
    for (orientation, (right, bottom, swapped)) in (1..).zip(seen) {
        let pixels = decode(&turned(&stored, orientation), &LIMITS).unwrap();
        let (width, height) = if swapped { (32, 64) } else { (64, 32) };
        assert_eq!((pixels.width(), pixels.height()), (width, height), "orientation {orientation}");
        for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let corner = (x * (width - 3) + 1, y * (height - 3) + 1);
            assert_eq!(is_red(&pixels, corner.0, corner.1), (x, y) == (right, bottom), "orientation {orientation}");
        }
    }
}

#[test]
fn orientation_is_respected_in_webp_and_png_too() {
    assert_eq!(decode(&webp(64, 32, Some(6)), &LIMITS).unwrap().width(), 32);
    assert_eq!(decode(&webp(64, 32, None), &LIMITS).unwrap().width(), 64);
    let plain = png(64, 32, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &rgb(64, 32));
    let mut chunk = b"eXIf".to_vec();
    chunk.extend(exif(6));
    let crc = crc32(&chunk).to_be_bytes();
    let length = (chunk.len() as u32 - 4).to_be_bytes();
    let turned = [&plain[..33], &length, &chunk, &crc, &plain[33..]].concat();
    assert_eq!(decode(&turned, &LIMITS).unwrap().width(), 32);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn a_wrong_checksum_of_an_ancillary_chunk_does_not_fail_a_png() {
    let plain = png(8, 8, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &rgb(8, 8));
    let chunk = |kind: &[u8; 4], body: &[u8]| {
        let wrong_crc = (crc32(&[kind.as_slice(), body].concat()) ^ 0x5a5a).to_be_bytes();
        [&(body.len() as u32).to_be_bytes(), kind.as_slice(), body, &wrong_crc].concat()
    };
    let notes = [chunk(b"iCCP", b"p\0\0\x01"), chunk(b"tEXt", b"Comment\0gate")].concat();
    let noted = [&plain[..33], &notes, &plain[33..]].concat();
    assert_eq!(decode(&noted, &LIMITS), decode(&plain, &LIMITS));
}

/// An animated WebP of 40 by 30 pixels whose first frame has 16 by 8 pixels and is at (10, 6).
fn animated_webp() -> Vec<u8> {
    let u24 = |number: u32| number.to_le_bytes()[..3].to_vec();
    let chunk =
        |kind: &[u8], body: &[u8]| [kind, &(body.len() as u32).to_le_bytes(), body, &vec![0; body.len() % 2]].concat();
    let frame = |x: u32, y: u32, width: u32, height: u32| {
        let head = [u24(x / 2), u24(y / 2), u24(width - 1), u24(height - 1), u24(500), vec![2]].concat();
        chunk(b"ANMF", &[head, webp(width, height, None)[12..].to_vec()].concat())
    };
    let canvas = chunk(b"VP8X", &[vec![2, 0, 0, 0], u24(39), u24(29)].concat());
    let body = [b"WEBP".to_vec(), canvas, chunk(b"ANIM", &[0; 6]), frame(10, 6, 16, 8), frame(0, 0, 40, 30)].concat();
    chunk(b"RIFF", &body)
}

#[test]
fn the_first_frame_of_an_animation_is_at_its_position() {
    let image = decode(&animated_webp(), &LIMITS).unwrap();
    assert_eq!((image.width(), image.height()), (40, 30));
    let (first, still) = (rgb(16, 8), decode(&webp(16, 8, None), &LIMITS).unwrap());
    assert_eq!(still.rgb(), first);
    for (x, y) in [(10, 6), (25, 13), (17, 9)] {
        assert_eq!(pixel(&image, x, y), pixel(&still, x - 10, y - 6), "{x} {y}");
    }
    for (x, y) in [(0, 0), (9, 6), (10, 5), (26, 6), (10, 14), (39, 29)] {
        assert_eq!(pixel(&image, x, y), [0; 3], "{x} {y}");
    }
}

#[test]
fn every_colour_type_and_depth_of_png_becomes_rgb() {
    use ::png::{BitDepth, ColorType};
    let cases: [(ColorType, BitDepth, &[u8], [u8; 3]); 8] = [
        (ColorType::Rgb, BitDepth::Eight, &[1, 2, 3], [1, 2, 3]),
        (ColorType::Rgb, BitDepth::Sixteen, &[1, 0, 2, 0, 3, 0], [1, 2, 3]),
        (ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 0], [1, 2, 3]),
        (ColorType::Rgba, BitDepth::Sixteen, &[1, 0, 2, 0, 3, 0, 9, 9], [1, 2, 3]),
        (ColorType::Grayscale, BitDepth::One, &[0x80], [255; 3]),
        (ColorType::Grayscale, BitDepth::Sixteen, &[7, 9], [7; 3]),
        (ColorType::GrayscaleAlpha, BitDepth::Eight, &[7, 0], [7; 3]),
        (ColorType::Indexed, BitDepth::Eight, &[1], [40, 50, 60]),
    ];
    for (colours, depth, samples, wanted) in cases {
        let pixels = decode(&png(1, 1, colours, depth, samples), &LIMITS).unwrap();
        assert_eq!(pixels.rgb(), wanted, "{colours:?} {depth:?}");
    }
}

#[test]
fn grey_and_four_colour_jpegs_become_rgb() {
    let grey = turbojpeg::Image { pixels: &[90u8; 64][..], width: 8, pitch: 8, height: 8, format: PixelFormat::GRAY };
    let grey = turbojpeg::compress(grey, 95, Subsamp::Gray).unwrap();
    assert!(decode(&grey, &LIMITS).unwrap().rgb().iter().all(|sample| sample.abs_diff(90) < 3));

    // Inks are stored inverted: no cyan, half magenta, no yellow, half black.
    let cmyk = [255u8, 128, 255, 128].repeat(64);
    let cmyk = turbojpeg::Image { pixels: &cmyk[..], width: 8, pitch: 32, height: 8, format: PixelFormat::CMYK };
    let cmyk = turbojpeg::compress(cmyk, 95, Subsamp::None).unwrap();
    let pixels = decode(&cmyk, &LIMITS).unwrap();
    let [red, green, blue] = pixel(&pixels, 4, 4);
    assert!(red.abs_diff(128) < 6 && green.abs_diff(64) < 6 && blue.abs_diff(128) < 6, "{red} {green} {blue}");
}

#[test]
fn the_first_bytes_decide_the_format() {
    for (bytes, format) in [
        (jpeg(8, 8), Format::Jpeg),
        (png(1, 1, ::png::ColorType::Grayscale, ::png::BitDepth::Eight, &[0]), Format::Png),
        (webp(8, 8, None), Format::Webp),
    ] {
        assert_eq!(probe(&bytes).unwrap().format, format);
    }
    for bytes in [&b""[..], b"GIF89a", b"<html>", b"PK\x03\x04", b"RIFF\x04\0\0\0WAVE", b"\xff\xd8"] {
        let error = decode(bytes, &LIMITS).unwrap_err();
        assert_eq!((&error, error.failure_code()), (&DecodeError::Unsupported, FailureCode::Undecodable));
    }
}

/// Overwrites width and height in a file's header with `side`, and corrects the checksum of a PNG.
fn announced(mut bytes: Vec<u8>, side: u16) -> Vec<u8> {
    let side = side.to_be_bytes();
    if bytes.starts_with(&[0xff, 0xd8]) {
        let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 7].copy_from_slice(&side);
        bytes[frame + 7..frame + 9].copy_from_slice(&side);
    } else {
        bytes[18..20].copy_from_slice(&side);
        bytes[22..24].copy_from_slice(&side);
        let crc = crc32(&bytes[12..29]).to_be_bytes();
        bytes[29..33].copy_from_slice(&crc);
    }
    bytes
}

#[test]
fn a_header_above_the_limit_is_refused_before_decoding() {
    let grey = png(1, 1, ::png::ColorType::Grayscale, ::png::BitDepth::Eight, &[0]);
    for bytes in [announced(jpeg(8, 8), 60_000), announced(grey, 60_000)] {
        let error = decode(&bytes, &LIMITS).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { width: 60_000, height: 60_000, limit: 1_000_000 }), "{error}");
        assert_eq!(error.failure_code(), FailureCode::TooLarge);
    }
}

#[test]
fn a_strip_longer_than_any_camera_has_is_refused() {
    let strip = |width, height| {
        let grey = vec![90; width as usize * height as usize];
        decode(&png(width, height, ::png::ColorType::Grayscale, ::png::BitDepth::Eight, &grey), &LIMITS)
    };
    for (width, height) in [(65_536, 1), (1, 65_536)] {
        let error = strip(width, height).unwrap_err();
        assert_eq!(error, DecodeError::TooLong { width, height });
        assert_eq!(error.failure_code(), FailureCode::TooLarge);
    }
    for (width, height) in [(65_535, 1), (1, 65_535)] {
        let pixels = strip(width, height).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (width, height));
    }
}

#[test]
fn a_header_with_a_false_size_is_an_error() {
    let grey = png(1, 1, ::png::ColorType::Grayscale, ::png::BitDepth::Eight, &[0]);
    for bytes in [announced(jpeg(8, 8), 900), announced(grey, 900)] {
        assert!(matches!(decode(&bytes, &LIMITS).unwrap_err(), DecodeError::Undecodable { .. }));
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    let whole =
        [jpeg(40, 30), png(40, 30, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &rgb(40, 30)), webp(40, 30, Some(3))];
    for bytes in whole {
        decode(&bytes, &LIMITS).unwrap();
        for length in 0..bytes.len() - 1 {
            assert!(decode(&bytes[..length], &LIMITS).is_err(), "{:?} cut at {length}", Format::of(&bytes));
        }
    }
}

#[test]
fn a_flipped_bit_never_panics_and_png_always_finds_it() {
    let whole =
        [jpeg(40, 30), png(40, 30, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &rgb(40, 30)), webp(40, 30, Some(3))];
    for bytes in whole {
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            let decoded = decode(&damaged, &LIMITS);
            let in_image_data = (45..bytes.len() - 16).contains(&(position / 8));
            if Format::of(&bytes) == Some(Format::Png) && in_image_data {
                assert!(decoded.is_err(), "bit {position}");
            }
        }
    }
}
