//! Files that are not what they seem: one clear line for each, and nothing lost of what can be decoded.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::clips::Clip;
use crate::server::{Pushed, Server};

fn file(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
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
    // A playlist must not make it read other files.
    let playlist = "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n";
    for (path, expected) in [
        (file(folder.path(), "text.mp4", b"only text"), "it is not a video, or is damaged or incomplete"),
        (file(folder.path(), "empty.mp4", b""), "it is empty"),
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
fn a_pipe_is_refused_without_waiting_for_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.mp4");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(push(&path).0.errors.contains("it is not a regular file"));
}

#[test]
fn a_damaged_file_gives_the_frames_that_can_be_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let mut clip = std::fs::read(Clip { frames: 100, ..Clip::default() }.write(folder.path(), "a.mkv")).unwrap();
    let middle = clip.len() / 2;
    clip[middle..middle + 400].fill(0x5a);
    let (pushed, frames) = push(&file(folder.path(), "damaged.mkv", &clip));
    assert!((60..=100).contains(&frames), "{frames}: {} {}", pushed.errors, pushed.counts);
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
