//! Files with harmless faults decode to the same pixels; truncated ones fail, even with a harmless fault before the damage.

use turbojpeg::{Compressor, Subsamp};

use super::header::{Part, parts};
use super::*;

const WIDTH: usize = 200;
const HEIGHT: usize = 120;

fn rgb() -> Vec<u8> {
    let pixel = |x: usize, y: usize| [(x * y % 251) as u8, (x * 7 % 253) as u8, (y * 5 % 247) as u8];
    (0..HEIGHT).flat_map(|y| (0..WIDTH).flat_map(move |x| pixel(x, y))).collect()
}

fn encoded(configure: impl FnOnce(&mut Compressor)) -> Vec<u8> {
    let pixels = rgb();
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(90).unwrap();
    compressor.set_subsamp(Subsamp::Sub2x2).unwrap();
    configure(&mut compressor);
    let image = turbojpeg::Image {
        pixels: &pixels[..],
        width: WIDTH,
        pitch: WIDTH * 3,
        height: HEIGHT,
        format: PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).unwrap()
}

fn plain() -> Vec<u8> {
    encoded(|_| {})
}

fn decoded(bytes: &[u8]) -> Result<Vec<u8>, String> {
    decode(bytes, WIDTH as u32, HEIGHT as u32).map(|(pixels, _)| pixels)
}

/// Offset of the first byte behind the header of the first scan.
fn scan_start(bytes: &[u8]) -> usize {
    let scan = parts(bytes).find_map(|part| if let Part::Scan(scan) = part { Some(scan) } else { None }).unwrap();
    scan.as_ptr() as usize - bytes.as_ptr() as usize
}

/// Spectral selection 0, 0 instead of 0, 63, as some phones write it.
fn with_wrong_spectrum(mut bytes: Vec<u8>) -> Vec<u8> {
    let start = scan_start(&bytes);
    bytes[start - 3..start].copy_from_slice(&[0, 0, 0]);
    bytes
}

fn inserted(bytes: &[u8], at: usize, extra: &[u8]) -> Vec<u8> {
    [&bytes[..at], extra, &bytes[at..]].concat()
}

/// 120 by 88 pixels with a restart marker after each row of MCUs: `cjpeg -quality 50 -restart 1`. The compressor of the crate
/// has no option for restart markers.
fn with_restarts() -> Vec<u8> {
    include_bytes!("restarts.jpg").to_vec()
}

/// Offsets of the restart markers.
fn restarts(bytes: &[u8]) -> Vec<usize> {
    let start = scan_start(bytes);
    (start..bytes.len() - 1).filter(|&at| bytes[at] == 0xff && header::is_restart(bytes[at + 1])).collect()
}

fn decoded_restarts(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (width, height) = size(bytes)?;
    decode(bytes, width, height).map(|(pixels, _)| pixels)
}

#[test]
fn unused_header_fields_do_not_fail_an_image() {
    let (plain, expected) = (plain(), decoded(&plain()).unwrap());
    let mut other_revision = plain.clone();
    assert_eq!(&other_revision[6..11], b"JFIF\0");
    other_revision[11] = 7;
    let icc = [b"\xff\xe2\0\x12".as_slice(), b"ICC_PROFILE\0\x09\x02\0\0"].concat();
    let adobe = [b"\xff\xee\0\x0e".as_slice(), b"Adobe\0\x64\0\0\0\0\x05"].concat();
    for (name, faulty) in [
        ("spectral selection", with_wrong_spectrum(plain.clone())),
        ("JFIF revision", other_revision),
        ("ICC profile", inserted(&plain, 2, &icc)),
        ("Adobe transform", inserted(&plain, 20, &adobe)),
        ("stray bytes between segments", inserted(&plain, 20, &[1, 2, 3])),
    ] {
        assert_eq!(decoded(&faulty).as_ref(), Ok(&expected), "{name}");
        let both = with_wrong_spectrum(faulty);
        assert_eq!(decoded(&both).as_ref(), Ok(&expected), "{name} and spectral selection");
    }
}

#[test]
fn stray_bytes_before_a_marker_do_not_fail_an_image() {
    let plain = plain();
    let stray = inserted(&plain, plain.len() - 2, &(1..=40).collect::<Vec<u8>>());
    assert_eq!(decoded(&stray), decoded(&plain));
    let restarts_file = with_restarts();
    let expected = decoded_restarts(&restarts_file);
    let markers = restarts(&restarts_file);
    assert!(expected.is_ok() && markers.len() > 4, "{expected:?}");
    for &at in &markers {
        assert_eq!(decoded_restarts(&inserted(&restarts_file, at, &[0x12, 0x34])), expected, "before {at}");
    }
    let mut everywhere = restarts_file.clone();
    for &at in markers.iter().rev() {
        everywhere = inserted(&everywhere, at, &[0x12, 0x34, 0x56]);
    }
    assert_eq!(decoded_restarts(&everywhere), expected);
}

#[test]
fn a_truncated_image_fails_also_after_a_harmless_fault() {
    let progressive = encoded(|compressor| compressor.set_progressive(true).unwrap());
    for whole in [plain(), progressive, with_restarts()] {
        let start = scan_start(&whole);
        let restart = restarts(&whole).first().copied();
        for length in (start..whole.len() - 2).step_by(whole.len() / 40) {
            let cut = &whole[..length];
            let ended = [cut, b"\xff\xd9"].concat();
            assert!(decoded_restarts(&with_wrong_spectrum(cut.to_vec())).is_err(), "cut at {length}");
            assert!(decoded_restarts(&with_wrong_spectrum(ended.clone())).is_err(), "cut at {length} with an end");
            if let Some(at) = restart.filter(|at| *at < length) {
                assert!(decoded_restarts(&inserted(cut, at, &[1, 2])).is_err(), "stray bytes, cut at {length}");
                assert!(decoded_restarts(&inserted(&ended, at, &[1, 2])).is_err(), "stray bytes, end at {length}");
            }
        }
    }
}

#[test]
fn a_lost_restart_interval_fails_also_after_stray_bytes() {
    let whole = with_restarts();
    let markers = restarts(&whole);
    let lost = [&whole[..markers[2]], &whole[markers[3]..]].concat();
    assert!(decoded_restarts(&inserted(&lost, markers[0], &[1, 2])).is_err());
}

#[test]
fn more_data_than_the_header_announces_is_an_error() {
    let plain = plain();
    let stray = vec![0x55; 2_000];
    assert!(decoded(&inserted(&plain, plain.len() - 2, &stray)).is_err());
}

#[test]
fn unusual_but_valid_files_decode_to_the_same_pixels() {
    let expected = decoded(&plain()).unwrap();
    let followed = [plain(), plain(), b"dhav\x59\x19\x01\0".to_vec()].concat();
    assert_eq!(decoded(&followed), Ok(expected.clone()));
    let arithmetic = encoded(|compressor| compressor.set_arithmetic(true).unwrap());
    assert_eq!(decoded(&arithmetic), Ok(expected.clone()));
    let wide = with_wide_tables(&plain());
    assert_ne!(wide, plain());
    assert_eq!(decoded(&wide), Ok(expected));
}

#[test]
fn more_pixels_allow_fewer_scans() {
    for (megapixels, limit) in [(0, 100), (5, 100), (10, 50), (25, 20), (1000, 20)] {
        assert_eq!(scan_limit(megapixels * 1_000_000), limit, "{megapixels}");
    }
    let progressive = encoded(|compressor| compressor.set_progressive(true).unwrap());
    let start = progressive.windows(2).rposition(|marker| marker == [0xff, 0xda]).unwrap();
    let (until, last) = (&progressive[..start], &progressive[start..progressive.len() - 2]);
    let with_scans = |extra| [until, &last.repeat(extra), &[0xff, header::END_OF_IMAGE]].concat();
    let refused = decoded(&with_scans(200)).unwrap_err();
    assert!(refused.contains("100 scans"), "{refused}");
}

/// The quantisation tables with 16 bits per number.
fn with_wide_tables(bytes: &[u8]) -> Vec<u8> {
    const TABLES: u8 = 0xdb;
    let mut wide = vec![0xff, 0xd8];
    for part in parts(bytes) {
        match part {
            Part::Segment(TABLES, content) => {
                let mut changed = Vec::new();
                for table in content.chunks_exact(65) {
                    changed.push(table[0] | 0x10);
                    changed.extend(table[1..].iter().flat_map(|&number| [0, number]));
                }
                header::put_segment(&mut wide, TABLES, &changed);
            }
            Part::Segment(marker, content) => header::put_segment(&mut wide, marker, content),
            Part::Scan(scan) => wide.extend(scan),
        }
    }
    wide.extend([0xff, header::END_OF_IMAGE]);
    wide
}
