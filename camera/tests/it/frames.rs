//! Which frames of a recording are sent, when they were captured, and how they look.

use std::time::Instant;

use ffmpeg_next::codec;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::clips::{Clip, HEIGHT, WIDTH};
use crate::server::{Pushed, Received, Server};

const BEGINS: &str = "2026-01-02T03:04:05Z";

/// Thousandths of a second after `BEGINS`.
fn times(frames: &[Received]) -> Vec<i64> {
    let begins: Timestamp = BEGINS.parse().unwrap();
    let since = |frame: &Received| frame.captured_at.parse::<Timestamp>().unwrap().duration_since(begins);
    frames.iter().map(|frame| i64::try_from(since(frame).as_millis()).unwrap()).collect()
}

/// Width, height and the luma of the image of a frame.
fn luma(frame: &Received) -> (usize, usize, Vec<u8>) {
    let mut decompressor = turbojpeg::Decompressor::new().unwrap();
    let header = decompressor.read_header(&frame.jpeg).unwrap();
    let mut image = turbojpeg::Image {
        pixels: vec![0; header.width * header.height],
        width: header.width,
        pitch: header.width,
        height: header.height,
        format: turbojpeg::PixelFormat::GRAY,
    };
    decompressor.decompress(&frame.jpeg, image.as_deref_mut()).unwrap();
    (header.width, header.height, image.pixels)
}

#[test]
fn every_frame_of_a_file_is_sent_once_with_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let clips = [
        ("plain.mp4", Clip::default()),
        ("b-frames.mp4", Clip { b_frames: 2, ..Clip::default() }),
        ("motion-jpeg.avi", Clip { codec: codec::Id::MJPEG, ..Clip::default() }),
        ("variable.mkv", Clip { time: |number| number * 40 + number % 3 * 9, ..Clip::default() }),
    ];
    for (name, clip) in clips {
        let server = Server::start();
        let pushed = server.push(&clip.write(folder.path(), name), &json!({"captured_at": BEGINS}));
        assert!(pushed.succeeded, "{name}: {}", pushed.errors);
        let frames = server.frames();
        let expected: Vec<i64> = (0..clip.frames).map(clip.time).collect();
        assert_eq!(times(&frames), expected, "{name}: the decoder is drained");
        assert_eq!(pushed.counts["frames_sent"], clip.frames, "{name}");
        server.stop();
    }
}

#[test]
fn images_have_the_range_of_jpeg() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    server.push(&Clip { frames: 1, ..Clip::default() }.write(folder.path(), "a.mp4"), &json!({}));
    let (width, height, pixels) = luma(&server.frames()[0]);
    assert_eq!((width, height), (WIDTH as usize, HEIGHT as usize));
    // 90 and 220 of 16…235.
    let (ground, square) = (i32::from(pixels[80 * width + 100]), i32::from(pixels[20 * width + 20]));
    assert!((ground - 86).abs() < 6 && (square - 237).abs() < 6, "{ground} {square}");
}

#[test]
fn a_part_of_a_file_has_the_frames_and_keys_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = Clip { frames: 60, ..Clip::default() }.write(folder.path(), "a.mp4");
    let server = Server::start();
    let (all, part) = (
        json!({"captured_at": BEGINS, "fps": 5.0}),
        json!({"captured_at": BEGINS, "fps": 5.0, "start": 1.0, "duration": 0.8}),
    );
    assert!(server.push(&path, &all).succeeded);
    let whole = server.frames();
    assert!(whole.iter().all(|frame| frame.stream == "gate"));
    assert!(server.push(&path, &part).succeeded);
    let part = server.frames().split_off(whole.len());
    assert_eq!(times(&whole), (0..12).map(|number| number * 200).collect::<Vec<_>>());
    assert_eq!(times(&part), [1000, 1200, 1400, 1600]);
    let keys =
        |frames: &[Received]| frames.iter().map(|frame| (frame.key.clone(), frame.jpeg.clone())).collect::<Vec<_>>();
    assert_eq!(keys(&part), keys(&whole[5..9]), "the same frames, byte for byte");
}

#[test]
fn a_start_loses_no_frame_in_any_container() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.mkv", "a.avi", "a.ts"] {
        let path = Clip { frames: 60, ..Clip::default() }.write(folder.path(), name);
        // Between two key frames, at one, and just after one.
        for start in [1.0, 1.2, 1.24] {
            let server = Server::start();
            server.push(&path, &json!({"captured_at": BEGINS}));
            let whole = server.frames();
            assert!(server.push(&path, &json!({"captured_at": BEGINS, "start": start})).succeeded, "{name}");
            let part = server.frames().split_off(whole.len());
            let expected = whole.iter().filter(|frame| times(&[(*frame).clone()])[0] >= (start * 1000.0) as i64);
            let images = |frame: &Received| (frame.captured_at.clone(), frame.jpeg.clone());
            let (part, expected): (Vec<_>, Vec<_>) =
                (part.iter().map(images).collect(), expected.map(images).collect());
            assert!(part == expected && part.len() > 25, "{name} {start}: {} {}", part.len(), expected.len());
        }
    }
}

#[test]
fn a_start_just_before_the_end_gives_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    // Fewer frames than a decoder with several threads keeps back.
    let path = Clip { frames: 52, ..Clip::default() }.write(folder.path(), "a.mp4");
    let server = Server::start();
    let pushed = server.push(&path, &json!({"captured_at": BEGINS, "start": 2.0}));
    assert!(pushed.succeeded, "{}", pushed.errors);
    assert_eq!(times(&server.frames()), [2000, 2040]);
}

#[test]
fn a_resized_frame_keeps_its_proportions() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    server.push(&Clip { frames: 1, ..Clip::default() }.write(folder.path(), "a.mp4"), &json!({"resize": "80x80"}));
    let (width, height, _) = luma(&server.frames()[0]);
    assert_eq!((width, height), (80, 48));
}

#[test]
fn refusals_are_obeyed_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = Clip { frames: 3, ..Clip::default() }.write(folder.path(), "a.mp4");
    let server = Server::refusing(&[(429, Some(2)), (503, None)]);
    let begun = Instant::now();
    let pushed = server.push(&path, &json!({"captured_at": BEGINS}));
    assert!(pushed.succeeded, "{}", pushed.errors);
    assert_eq!(times(&server.frames()), [0, 40, 80]);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_server_that_never_answers_is_given_up_after_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = Clip { frames: 3, ..Clip::default() }.write(folder.path(), "a.mp4");
    let silent = format!("http://127.0.0.1:{}", crate::live::listen(std::mem::forget));
    let source = json!({"stream": "gate", "url": path});
    let server = json!({"url": silent, "token": "token-of-the-test"});
    let begun = Instant::now();
    let pushed = Pushed::by(&json!({"server": server, "sources": [source], "json": true, "patience_seconds": 2}));
    assert!(!pushed.succeeded && pushed.errors.contains("gave up after 2 s"), "{}", pushed.errors);
    // A report of the state is waited for as well, for three seconds.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_frame_that_is_refused_for_good_is_counted_and_the_next_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = Clip { frames: 3, ..Clip::default() }.write(folder.path(), "a.mp4");
    let server = Server::refusing(&[(413, None)]);
    let pushed = server.push(&path, &json!({}));
    assert!(!pushed.succeeded);
    assert_eq!((&pushed.counts["frames_sent"], &pushed.counts["frames_refused"]), (&json!(2), &json!(1)));
    let server = Server::refusing(&[(401, None)]);
    let pushed = server.push(&path, &json!({}));
    assert!(!pushed.succeeded && pushed.errors.contains("refuses all frames"), "{}", pushed.errors);
    assert!(server.frames().is_empty(), "a wrong token is not tried again");
}

#[test]
fn a_file_without_a_time_was_recorded_before_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    server.push(&Clip::default().write(folder.path(), "a.avi"), &json!({}));
    let last: Timestamp = server.frames().last().unwrap().captured_at.parse().unwrap();
    let age = Timestamp::now().duration_since(last);
    assert!(age > SignedDuration::ZERO && age < SignedDuration::from_mins(5), "{age}");
}
