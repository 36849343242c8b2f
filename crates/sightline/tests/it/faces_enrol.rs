//! `faces enrol` with a server that has the routes of subjects in memory.

mod server;

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::server::{FakeServer, Fault};
use crate::processes::TIMEOUT;

/// Bytes that begin as a JPEG.
fn jpeg(text: &str) -> Vec<u8> {
    [b"\xff\xd8\xff\xe0 ", text.as_bytes()].concat()
}

/// A folder with these images, which contain their paths.
fn folder(images: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    images.iter().for_each(|image| add(&folder, image));
    folder
}

fn add(folder: &TempDir, image: &str) {
    let path = folder.path().join(image);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, jpeg(image)).unwrap();
}

fn enrol(server: &FakeServer, folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    command.args(["faces", "enrol"]).arg(folder).args(options);
    command.args(["--server", &server.url, "--token", "none"]).env_clear();
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs it to its end; returns its exit status, and the lines of its output and of its errors.
fn run(command: &mut Command) -> (Option<i32>, Vec<String>, Vec<String>) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let lines = |bytes: &[u8]| text(bytes).lines().map(str::to_owned).collect();
    (status.code(), lines(&stdout), lines(&stderr))
}

/// The paths of all files below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.insert(path.to_str().unwrap().to_owned());
    }
    found
}

#[test]
fn a_second_run_enrols_only_what_is_missing() {
    let server = FakeServer::start(|_, _| None);
    let folder = folder(&["Ann Lee/1.jpg", "Ann Lee/2.jpg", "ben/1.jpg"]);
    let before = files(folder.path());
    let (status, mut printed, said) = run(&mut enrol(&server, folder.path(), &[]));
    assert_eq!((status, said), (Some(0), vec![]));
    assert_eq!(printed.pop().unwrap(), "2 people: 3 images enrolled, 0 already there, 0 refused");
    // In the order in which they are done.
    printed.sort();
    let expected =
        ["Ann Lee: 2 images enrolled, 0 already there, 0 refused", "ben: 1 image enrolled, 0 already there, 0 refused"];
    assert_eq!(printed, expected);
    assert_eq!(files(folder.path()), before, "it keeps nothing in the folder");
    assert!(server.sent_images().iter().all(|request| request.content_type == "image/jpeg"));

    add(&folder, "ben/2.jpg");
    let (status, printed, said) = run(&mut enrol(&server, folder.path(), &[]));
    assert_eq!((status, said), (Some(0), vec![]));
    assert_eq!(printed.last().unwrap(), "2 people: 1 image enrolled, 3 already there, 0 refused");
    let mut subjects = server.subjects();
    subjects.sort();
    let expected = [("Ann Lee", 2), ("ben", 2)].map(|(name, images)| (name.to_owned(), name.to_owned(), images));
    assert_eq!(subjects, expected);
}

#[test]
fn an_interrupted_run_is_continued() {
    // Two images have no answer when they are sent the first time.
    let server =
        FakeServer::start(|request, earlier| (request.has_image("slow") && earlier == 0).then_some(Fault::Silence));
    let folder = folder(&["ann/1.jpg", "ben/slow.jpg", "cid/slow.jpg", "dan/1.jpg"]);
    let mut command = enrol(&server, folder.path(), &["--concurrency", "2"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while server.sent_images().len() < 3 {
        assert!(begun.elapsed() < TIMEOUT, "{} images were sent", server.sent_images().len());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap().success());
    let output = running.wait_with_output().unwrap();
    let expected = "error: interrupted; 1 of 4 people done: 1 image enrolled, 0 already there, 0 refused; \
         the same command continues\n";
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(130), expected));
    assert_eq!(server.sent_images().len(), 3, "two people at a time");

    let (status, printed, said) = run(&mut enrol(&server, folder.path(), &[]));
    assert_eq!((status, said), (Some(0), vec![]));
    assert_eq!(printed.last().unwrap(), "4 people: 3 images enrolled, 1 already there, 0 refused");
    assert!(server.subjects().iter().all(|(_, _, images)| *images == 1), "{:?}", server.subjects());
}

#[test]
fn a_refused_image_is_named_and_stops_no_other() {
    let server = FakeServer::start(|request, _| {
        let blurred = Fault::Problem("422 Unprocessable Entity", "face_blurred", "the face is blurred");
        request.has_image("blurred").then_some(blurred)
    });
    let folder = folder(&["ann/1.jpg", "ann/blurred.jpg", "ann/last.jpg", "ben/blurred.jpg"]);
    let (status, printed, said) = run(&mut enrol(&server, folder.path(), &["--concurrency", "1"]));
    assert_eq!(status, Some(1), "{said:?}");
    let refused = "422 Unprocessable Entity: the face is blurred (face_blurred)";
    let counts = "2 people: 2 images enrolled, 0 already there, 2 refused; 1 person has no enrolled image";
    let expected = [
        format!("ann/blurred.jpg: {refused}"),
        format!("ben/blurred.jpg: {refused}"),
        format!("error: {counts}; the lines above say why"),
    ];
    assert_eq!(said, expected);
    let expected =
        ["ann: 2 images enrolled, 0 already there, 1 refused", "ben: 0 images enrolled, 0 already there, 1 refused"];
    assert_eq!(printed, expected);
}

#[test]
fn a_refused_subject_stops_no_other() {
    let server = FakeServer::start(|request, _| {
        let is_subject = String::from_utf8_lossy(&request.body).contains("external_id\":\"ann");
        is_subject.then_some(Fault::Problem("422 Unprocessable Entity", "invalid", "the name is too long"))
    });
    let folder = folder(&["ann/1.jpg", "ann/2.jpg", "ben/1.jpg"]);
    let (status, _, said) = run(&mut enrol(&server, folder.path(), &["--concurrency", "1"]));
    assert_eq!((status, said[0].as_str()), (Some(1), "ann: 422 Unprocessable Entity: the name is too long (invalid)"));
    assert!(said[1].starts_with("error: 2 people: 1 image enrolled, 0 already there, 2 refused; 1 person"), "{said:?}");
}

#[test]
fn a_busy_server_is_asked_again_after_its_pause() {
    let server = FakeServer::start(|request, earlier| {
        let is_image = request.target.ends_with("/images");
        (is_image && earlier == 0).then_some(Fault::TryAgain(2, "busy", "too many images at this moment"))
    });
    let folder = folder(&["ann/1.jpg"]);
    let (status, printed, said) = run(&mut enrol(&server, folder.path(), &[]));
    assert_eq!((status, said), (Some(0), vec![]));
    assert_eq!(printed.last().unwrap(), "1 person: 1 image enrolled, 0 already there, 0 refused");
    let sent = server.sent_images();
    assert_eq!(sent.len(), 2);
    // Without the header it waits for one second.
    assert!(sent[1].at - sent[0].at >= Duration::from_secs(2), "{:?}", sent[1].at - sent[0].at);
}

#[test]
fn a_server_that_stays_busy_fails_the_image_after_the_time_limit() {
    let server = FakeServer::start(|request, _| {
        request.has_image("ann").then_some(Fault::TryAgain(30, "disk_full", "the disk is full"))
    });
    let folder = folder(&["ann/1.jpg", "ben/1.jpg"]);
    let (status, _, said) = run(&mut enrol(&server, folder.path(), &["--concurrency", "1", "--wait", "20"]));
    assert_eq!(status, Some(1), "{said:?}");
    let expected = "503 Service Unavailable: the disk is full (disk_full); the next try was due in 30 s";
    assert!(said[0].starts_with("ann/1.jpg: gave up after ") && said[0].ends_with(expected), "{said:?}");
    assert!(
        said[1].starts_with("error: 2 people: 1 image enrolled, 0 already there, 0 refused, 1 failed;"),
        "{said:?}"
    );
}

#[test]
fn what_would_refuse_every_image_ends_the_command() {
    type Case = (server::Faults, &'static str, usize);
    let cases: [Case; 5] = [
        (|_, _| Some(Fault::Problem("401 Unauthorized", "invalid_token", "the token is not valid")), "401", 1),
        (|_, _| Some(Fault::Problem("403 Forbidden", "forbidden", "the token lacks a scope")), "403", 1),
        (|_, _| Some(Fault::Problem("404 Not Found", "not_found", "no such path")), "does not recognise faces", 1),
        (
            |request, _| {
                let none = Fault::TryAgain(1, "no_face_model", "the face model is not installed");
                request.target.ends_with("/images").then_some(none)
            },
            "the face model is not installed (no_face_model)",
            2,
        ),
        (
            |request, _| {
                let damaged = Fault::TryAgain(1, "face_model_unusable", "the file of a model is damaged");
                request.target.ends_with("/images").then_some(damaged)
            },
            "the file of a model is damaged (face_model_unusable)",
            2,
        ),
    ];
    let folder = folder(&["ann/1.jpg", "ann/2.jpg", "ben/1.jpg"]);
    for (faults, expected, requests) in cases {
        let server = FakeServer::start(faults);
        let (status, printed, said) = run(&mut enrol(&server, folder.path(), &["--concurrency", "1"]));
        assert_eq!((status, printed, said.len()), (Some(1), vec![], 1), "{said:?}");
        assert!(said[0].starts_with("error: ") && said[0].contains(expected), "{said:?}");
        assert_eq!(server.request_count(), requests, "{said:?}");
    }
}

#[test]
fn an_end_after_some_images_has_their_counts() {
    let server = FakeServer::start(|request, _| {
        request.has_image("ben").then_some(Fault::Problem(
            "401 Unauthorized",
            "invalid_token",
            "the token is not valid",
        ))
    });
    let folder = folder(&["ann/1.jpg", "ben/1.jpg"]);
    let (status, _, said) = run(&mut enrol(&server, folder.path(), &["--concurrency", "1"]));
    let expected = "error: 1 of 2 people done: 1 image enrolled, 0 already there, 0 refused: \
         401 Unauthorized: the token is not valid (invalid_token)";
    assert_eq!((status, said), (Some(1), vec![expected.to_owned()]));
}

#[test]
fn what_cannot_be_enrolled_is_named_and_stops_nobody() {
    let server = FakeServer::start(|_, _| None);
    let folder = folder(&["ann/1.jpg"]);
    std::fs::write(folder.path().join("ann/notes.txt"), "text").unwrap();
    std::fs::create_dir(folder.path().join("ben")).unwrap();
    let unnamed = folder.path().join(std::ffi::OsStr::from_bytes(b"c\xff"));
    std::fs::create_dir(&unnamed).unwrap();
    std::fs::write(unnamed.join("1.jpg"), jpeg("1")).unwrap();
    let (status, printed, said) = run(&mut enrol(&server, folder.path(), &[]));
    assert_eq!(status, Some(1), "{said:?}");
    let expected = [
        "ann/notes.txt: skipped: it is no JPEG, PNG or WebP image",
        "ben: there is no JPEG, PNG or WebP image in it",
        "c\u{fffd}: the name is not valid UTF-8",
        "error: 3 people: 1 image enrolled, 0 already there, 0 refused; 2 people have no enrolled image; \
         the lines above say why",
    ];
    assert_eq!(said, expected);
    assert_eq!(printed, ["ann: 1 image enrolled, 0 already there, 0 refused"]);
    assert_eq!(server.subjects(), [("ann".to_owned(), "ann".to_owned(), 1)]);
}

#[test]
fn a_file_that_cannot_be_read_fails_alone() {
    let server = FakeServer::start(|_, _| None);
    let folder = folder(&["ann/1.jpg", "ann/2.jpg"]);
    // Recognised by its first bytes, and too large to be sent.
    let file = std::fs::File::options().write(true).open(folder.path().join("ann/1.jpg")).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    let (status, printed, said) = run(&mut enrol(&server, folder.path(), &[]));
    assert_eq!((status, said[0].as_str()), (Some(1), "ann/1.jpg: it is larger than 256 MiB"));
    assert_eq!(printed, ["ann: 1 image enrolled, 0 already there, 0 refused, 1 failed"]);
}

#[test]
fn a_wrong_use_is_explained() {
    let server = FakeServer::start(|_, _| None);
    let (people, images) = (folder(&["ann/1.jpg"]), folder(&["1.jpg"]));
    let cases: [(&Path, &[&str], &str); 5] = [
        (images.path(), &[], "has no folder in it; it needs a folder for each person"),
        (&images.path().join("1.jpg"), &[], "is not a folder; it needs a folder for each person"),
        (&images.path().join("nowhere"), &[], "cannot be read"),
        (people.path(), &["--concurrency", "0"], "--concurrency"),
        (people.path(), &["--wait", "1.5"], "whole number of seconds"),
    ];
    for (path, options, expected) in cases {
        let (status, _, said) = run(&mut enrol(&server, path, options));
        assert!(status == Some(2) && said.concat().contains(expected), "{said:?}");
    }
    let mut without = Command::new(env!("CARGO_BIN_EXE_sightline"));
    let (status, _, said) = run(without.args(["faces", "enrol"]).env_clear().env("SIGHTLINE_DATA_DIR", "/nowhere"));
    assert_eq!(status, Some(2));
    assert!(said.iter().any(|line| line == "Usage: sightline faces enrol [OPTIONS] <FOLDER>"), "{said:?}");
    assert_eq!(server.request_count(), 0);
}
