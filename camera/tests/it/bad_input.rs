//! Files that are not what they seem: one clear line for each, and nothing lost of what can be decoded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ffmpeg_next::codec::Id;
use jiff::Timestamp;
use serde_json::json;

use crate::clips::{Clip, rested};
use crate::server::{Pushed, Server};

fn file(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    rested(path)
}

/// Pushes a file; also returns how many frames arrived.
fn push(path: &Path) -> (Pushed, usize) {
    let server = Server::start();
    let pushed = server.push(path, &json!({}));
    (pushed, server.frames().len())
}

#[test]
fn a_file_that_is_no_video_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::fs::read(Clip::default().write(folder.path(), "a.mp4")).unwrap();
    let sound = [
        &b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x08\0\0\0"[..],
        &[0; 8],
    ]
    .concat();
    // Hashing it would take hours.
    let large = file(folder.path(), "large.mp4", b"nothing");
    File::options().write(true).open(&large).unwrap().set_len(8 << 40).unwrap();
    let large = rested(large);
    // A playlist must not make it read other files.
    let playlist = "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n";
    for (path, expected) in [
        (file(folder.path(), "text.mp4", b"only text"), "it is not a video, or is damaged or incomplete"),
        (file(folder.path(), "empty.mp4", b""), "it is empty"),
        (file(folder.path(), "sound.mp4", &sound), "it is not a video, or in a container that is not supported"),
        (large, "it is not a video, or is damaged or incomplete"),
        (file(folder.path(), "cut.mp4", &clip[..clip.len() / 2]), "it is not a video, or is damaged or incomplete"),
        (file(folder.path(), "list.mp4", playlist.as_bytes()), "it is not a video, or is damaged or incomplete"),
        (folder.path().join("none.mp4"), "the file cannot be read"),
        (folder.path().to_owned(), "it is not a regular file"),
    ] {
        let (pushed, frames) = push(&path);
        let lines: Vec<&str> = pushed.errors.lines().collect();
        assert!(!pushed.succeeded && frames == 0, "{expected}");
        assert!(lines.len() == 1 && lines[0].contains(expected), "{expected}: {lines:?}");
        assert!(lines[0].contains(path.to_str().unwrap()), "{lines:?}");
    }
}

#[test]
fn a_huge_image_and_a_strange_codec_are_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    // A GIF of one pixel that claims to have many.
    let side = 12_000_u16.to_le_bytes();
    let huge =
        [b"GIF89a", &side[..], &side, b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0;"].concat();
    let mut clip = std::fs::read(Clip { codec: Id::MJPEG, ..Clip::default() }.write(folder.path(), "a.avi")).unwrap();
    // The name of the codec of an AVI file.
    let mut strange = clip.clone();
    let at = strange.windows(4).position(|bytes| bytes == b"strf").unwrap() + 8 + 16;
    strange[at..at + 4].copy_from_slice(b"SVQ1");
    // The header of each image.
    let headers: Vec<usize> =
        (0..clip.len() - 9).filter(|at| clip[*at..].starts_with(&[0xff, 0xc0, 0, 17, 8])).collect();
    headers.iter().for_each(|at| clip[at + 5..at + 9].fill(0x2e));
    for (path, expected) in [
        (file(folder.path(), "huge.gif", &huge), "none of its frames can be decoded (Picture size 12000x12000 exceeds"),
        (file(folder.path(), "strange.avi", &strange), "its video is in svq1, which is not supported"),
        (file(folder.path(), "damaged.avi", &clip), "none of its frames can be decoded"),
    ] {
        let (pushed, frames) = push(&path);
        let lines: Vec<&str> = pushed.errors.lines().collect();
        assert!(!pushed.succeeded && frames == 0 && lines.len() == 1, "{expected}: {lines:?}");
        assert!(lines[0].contains(expected), "{expected}: {lines:?}");
    }
}

#[test]
fn a_pipe_is_refused_without_waiting_for_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.mp4");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(push(&path).0.errors.contains("it is not a regular file"));
}

#[test]
fn a_damaged_file_gives_the_frames_that_can_be_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let images = |path: &Path| -> (Pushed, BTreeMap<Timestamp, Bytes>) {
        let server = Server::start();
        let pushed = server.push(path, &json!({"captured_at": "2026-01-01T00:00:00Z"}));
        (pushed, server.frames().into_iter().map(|frame| (frame.captured_at.parse().unwrap(), frame.jpeg)).collect())
    };
    let path = Clip { frames: 100, ..Clip::default() }.write(folder.path(), "a.mkv");
    let mut clip = std::fs::read(&path).unwrap();
    let whole = images(&path).1;
    let middle = clip.len() / 2;
    clip[middle..middle + 400].fill(0x5a);
    let (pushed, frames) = images(&file(folder.path(), "damaged.mkv", &clip));
    // Matroska has the frames in clusters, and what is left of a damaged one is lost.
    let same: Vec<bool> = whole.iter().map(|(at, jpeg)| frames.get(at) == Some(jpeg)).collect();
    let count = same.iter().filter(|is_same| **is_same).count();
    assert!((60..100).contains(&count) && frames.len() >= 60, "{count}: {} {}", pushed.errors, pushed.counts);
    assert!(same[..40].iter().chain(&same[90..]).all(|is_same| *is_same), "{same:?}");
    assert!(pushed.counts["frames_damaged"].as_u64().unwrap() > 0, "{}", pushed.counts);
}

#[test]
fn a_file_that_begins_in_the_middle_has_no_grey_frames() {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::fs::read(Clip { frames: 100, ..Clip::default() }.write(folder.path(), "a.ts")).unwrap();
    // Whole packets of 188 bytes.
    let middle = clip.len() / 188 / 3 * 188;
    let (pushed, frames) = push(&file(folder.path(), "middle.ts", &clip[middle..]));
    assert!(pushed.succeeded && (40..90).contains(&frames), "{frames}: {}", pushed.errors);
    assert!(pushed.errors.contains("packets before the first key frame"), "{}", pushed.errors);
}

#[test]
fn an_incomplete_file_says_so_after_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip { frames: 100, has_index_first: true, ..Clip::default() }.write(folder.path(), "a.mp4");
    assert!(push(&clip).0.succeeded);
    let clip = std::fs::read(clip).unwrap();
    let (pushed, frames) = push(&file(folder.path(), "cut.mp4", &clip[..clip.len() / 2]));
    assert!(!pushed.succeeded, "{}", pushed.counts);
    assert!(frames > 20 && pushed.errors.contains("it is incomplete: it ends after"), "{frames}: {}", pushed.errors);
}

#[test]
fn a_file_that_grows_while_it_is_sent_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = Clip { frames: 400, ..Clip::default() }.write(folder.path(), "a.ts");
    let server = Server::start();
    let pushed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while server.frames().is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            File::options().append(true).open(&path).unwrap().write_all(&[0xff; 188]).unwrap();
        });
        server.push(&path, &json!({}))
    });
    let lines: Vec<&str> = pushed.errors.lines().collect();
    assert!(!pushed.succeeded && lines.len() == 1, "{lines:?}");
    assert!(lines[0].contains("it changed while it was read: something still writes it"), "{lines:?}");
}

#[test]
fn a_matroska_file_without_its_end_says_so_and_a_whole_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec, is_never_sought) in [
        ("a.mkv", Id::MPEG4, false),
        ("a.webm", Id::VP8, false),
        ("live.mkv", Id::MPEG4, true),
        ("live.webm", Id::VP8, true),
    ] {
        let path = Clip { codec, frames: 100, is_never_sought, ..Clip::default() }.write(folder.path(), name);
        let (pushed, frames) = push(&path);
        assert!(pushed.succeeded && frames == 100, "{name}: {frames} {}", pushed.errors);
        let whole = std::fs::read(&path).unwrap();
        let (pushed, frames) = push(&file(folder.path(), name, &whole[..whole.len() * 2 / 3]));
        let lines: Vec<&str> = pushed.errors.lines().collect();
        assert!(!pushed.succeeded && lines.len() == 1 && (20..100).contains(&frames), "{name}: {frames} {lines:?}");
        assert!(lines[0].contains("it is incomplete: it has "), "{name}: {lines:?}");
    }
}

#[test]
fn a_file_without_any_frame_says_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    // The key frame is the first of all.
    let clip = std::fs::read(Clip { frames: 100, group: 600, ..Clip::default() }.write(folder.path(), "a.ts")).unwrap();
    let middle = clip.len() / 188 / 2 * 188;
    let (pushed, frames) = push(&file(folder.path(), "middle.ts", &clip[middle..]));
    assert!(!pushed.succeeded && frames == 0, "{}", pushed.counts);
    let is_named =
        pushed.errors.contains("it has no frame: none of its ") && pushed.errors.contains(" in mpeg4 is a key frame");
    assert!(is_named, "{}", pushed.errors);
}

#[test]
fn a_jump_in_the_times_of_a_file_moves_no_other_frame() {
    let folder = tempfile::tempdir().unwrap();
    let clip = |name: &str| std::fs::read(Clip { frames: 20, ..Clip::default() }.write(folder.path(), name)).unwrap();
    let three = [clip("a.ts"), clip("b.ts"), clip("c.ts")].concat();
    let path = file(folder.path(), "three.ts", &three);
    let server = Server::start();
    let pushed = server.push(&path, &json!({"captured_at": "2026-01-01T00:00:00Z"}));
    let times: Vec<Timestamp> = server.frames().iter().map(|frame| frame.captured_at.parse().unwrap()).collect();
    let steps: Vec<i128> = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_millis()).collect();
    assert!(times.len() == 60 && steps.iter().all(|step| *step == 40), "{} {steps:?}", pushed.errors);
}
