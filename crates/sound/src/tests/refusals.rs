//! Files that are refused, and by which name.

use std::io::Cursor;
use std::time::Duration;

use crate::samples::{code, probed, sample, silent_mp3, wav};
use crate::{Limits, probe};

/// The bytes with `new` at `offset` after the first `marker`.
fn changed(bytes: &[u8], marker: &[u8], offset: usize, new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(marker.len()).position(|window| window == marker).unwrap() + offset;
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn what_is_no_sound_is_not_audio() {
    let image = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 5000]].concat();
    let photograph = [b"\xff\xd8\xff\xe0".as_slice(), &silent_mp3(50)].concat();
    let text = "It is a truth universally acknowledged. ".repeat(5000);
    for bytes in [b"".as_slice(), b"x", &[0; 100_000], &[0xff; 100_000], text.as_bytes(), &image, &photograph] {
        assert_eq!(code(bytes), "not_audio", "{:?}", &bytes[..bytes.len().min(20)]);
    }
}

#[test]
fn a_protected_file_is_encrypted() {
    assert_eq!(code(sample!("encrypted.mp4")), "encrypted");
    assert_eq!(code(&changed(sample!("aac.m4a"), b"mp4a", 0, b"drms")), "encrypted");
}

#[test]
fn codecs_without_a_decoder_are_named() {
    let named = |bytes: &[u8]| probed(bytes).unwrap_err().to_string();
    for (bytes, name) in [
        (sample!("opus.ogg"), "Opus"),
        (sample!("opus.webm"), "Opus"),
        (sample!("surround.m4a"), "AAC of 6 channels"),
        (sample!("layer2.mp2"), "MPEG audio layer II"),
    ] {
        assert_eq!(code(bytes), "codec_unsupported", "{name}");
        assert!(named(bytes).starts_with(name), "{}", named(bytes));
    }
    // The configuration of AAC: its first five bits are the kind, 5 is HE-AAC.
    let efficient = changed(sample!("aac.m4a"), b"\x05\x80\x80\x80", 5, &[5 << 3 | 2]);
    assert_eq!(code(&efficient), "codec_unsupported");
    assert!(named(&efficient).starts_with("HE-AAC"), "{}", named(&efficient));
    let unknown = changed(sample!("aac.m4a"), b"mp4a", 0, b"mlpa");
    assert!(named(&unknown).starts_with("codec mlpa"), "{}", named(&unknown));
}

#[test]
fn a_video_without_sound_has_no_sound() {
    assert_eq!(code(sample!("silent-video.mp4")), "no_sound");
    assert_eq!(code(&wav(8_000, 1, 0)), "no_sound");
}

#[test]
fn a_file_that_was_cut_is_truncated() {
    let wav = wav(8_000, 1, 8_000);
    for (name, bytes) in [
        ("m4a", sample!("aac.m4a")),
        ("faststart", sample!("faststart.mp4")),
        ("alac", sample!("alac.m4a")),
        ("flac", sample!("flac.flac")),
        ("wav", wav.as_slice()),
        ("mp3", sample!("vbr.mp3")),
    ] {
        for part in [2, 3] {
            assert_eq!(code(&bytes[..bytes.len() / part]), "truncated", "{name}, a {part}th of it");
        }
    }
}

#[test]
fn a_header_that_claims_more_than_there_is_is_refused() {
    let wav = wav(8_000, 1, 8_000);
    assert_eq!(code(&changed(&wav, b"data", 4, &[0xfe, 0xff, 0xff, 0x7f])), "truncated");
    // STREAMINFO: 36 bits of the number of samples.
    let flac = changed(sample!("flac.flac"), b"fLaC", 22, &[0xff; 4]);
    assert_eq!(code(&flac), "truncated");
    let mp3 = changed(sample!("cbr.mp3"), b"Info", 8, &[0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(code(&mp3), "truncated");
    // The duration of each packet of an MP4.
    let mp4 = changed(sample!("aac.m4a"), b"stts", 16, &[0, 0xff, 0xff, 0xff]);
    assert_eq!(code(&mp4), "damaged");
}

#[test]
fn a_sound_above_the_limit_is_too_long() {
    let bytes = silent_mp3(500);
    let limits = Limits { max_duration: Duration::from_secs(13) };
    let error = probe(Cursor::new(bytes.clone()), bytes.len() as u64, &limits).unwrap_err();
    assert_eq!(error.refusal().unwrap().code(), "too_long");
    let day = Limits { max_duration: Duration::from_secs(24 * 3600) };
    assert!(probe(Cursor::new(bytes.clone()), bytes.len() as u64, &day).is_ok());
}

#[test]
fn every_cut_and_every_absurd_number_ends() {
    for bytes in [sample!("aac.m4a"), sample!("vorbis.ogg"), sample!("mpeg25.mp3"), sample!("vorbis.mka")] {
        for cut in (0..bytes.len()).step_by(97) {
            let _ = code(&bytes[..cut]);
        }
        for at in (0..bytes.len() - 4).step_by(53) {
            let mut bytes = bytes.to_vec();
            bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
            let _ = code(&bytes);
        }
    }
}
