//! `push` of videos and live cameras: the command starts the camera program, and runs without it. A script stands in for the program.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const MP4: &[u8] = b"\0\0\0\x20ftypisom no real video";

/// The command in a folder of its own, with a video, and with a `camera` if there is a script for it.
struct Installation {
    folder: TempDir,
}

impl Installation {
    fn with(camera: Option<&str>) -> Self {
        // On the file system of the program, for a link to it.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::hard_link(env!("CARGO_BIN_EXE_sightline"), folder.path().join("sightline")).unwrap();
        std::fs::write(folder.path().join("gate 1.mp4"), MP4).unwrap();
        if let Some(script) = camera {
            let path = folder.path().join("camera");
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        Self { folder }
    }

    fn video(&self) -> PathBuf {
        self.folder.path().join("gate 1.mp4")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.path().join("sightline"));
        command.arg("push").args(arguments).args(["--token", "token-of-the-test"]);
        command.env_clear().current_dir(&self.folder);
        command
    }

    fn push(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_video_without_the_camera_program_says_what_is_missing() {
    let installation = Installation::with(None);
    let output = installation.push(&[installation.video().to_str().unwrap()]);
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.lines().count() == 1, "{said}");
    assert!(said.contains("the program `sightline-camera`") && said.contains("libavformat-dev"), "{said}");
}

#[test]
fn a_list_of_cameras_is_refused_before_the_start() {
    let is_check = r#"[ "$*" = "--config list.yaml check --list-only" ]"#;
    let mistakes = r"printf 'error: list.yaml: camera a: wrong\nerror: list.yaml: camera b: wrong\n' >&2";
    let check = format!("{is_check} && {mistakes}; exit 2");
    let installation = Installation::with(Some(&check));
    let mut up = Command::new(installation.folder.path().join("sightline"));
    up.args([
        "up",
        "--cameras",
        "list.yaml",
        "--http-addr",
        "127.0.0.1:0",
        "--admin-addr",
        "off",
        "--grpc-addr",
        "off",
        "--data-dir",
        "data",
    ]);
    let output = up.env_clear().current_dir(&installation.folder).output().unwrap();
    let said = text(&output.stderr).lines().last().unwrap();
    assert_eq!(said, "error: SIGHTLINE_CAMERAS: list.yaml: camera a: wrong; list.yaml: camera b: wrong");
    assert!(!output.status.success() && !text(&output.stdout).contains("ready"));
    assert!(!installation.folder.path().join("data/documents.sqlite").exists(), "nothing was opened");
}

#[test]
fn missing_libraries_are_named() {
    let installation = Installation::with(Some("exit 127"));
    let output = installation.push(&["gate 1.mp4"]);
    assert!(text(&output.stderr).contains("libavformat59"), "{}", text(&output.stderr));
}

#[test]
fn credentials_are_not_in_the_list_of_processes() {
    let installation = Installation::with(Some(r#"read -r task; echo "$*"; echo "$task""#));
    let output = installation.push(&["rtsp://ann:lamp-ostrich@10.0.0.5/live", "gate 1.mp4", "--fps", "5"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut lines = text(&output.stdout).lines();
    let (arguments, task) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(arguments, "push");
    let look = "detections of stream 10.0.0.5: http://127.0.0.1:8080/v1/detections?stream=10.0.0.5";
    assert_eq!(lines.next(), Some(look));
    let task: serde_json::Value = serde_json::from_str(task).unwrap();
    assert_eq!(task["server"]["token"], "token-of-the-test");
    let (video, live) = (&task["sources"][0], &task["sources"][1]);
    assert_eq!((&video["stream"], &video["url"], &video["fps"]), (&"gate-1".into(), &"gate 1.mp4".into(), &5.0.into()));
    assert_eq!((&live["stream"], &live["url"]), (&"10.0.0.5".into(), &"rtsp://ann:lamp-ostrich@10.0.0.5/live".into()));
}

#[test]
fn a_password_comes_from_a_file_or_from_standard_input() {
    let installation = Installation::with(Some(r#"read -r task; echo "$*"; echo "$task""#));
    let sources = |arguments: &[&str], input: &str| {
        let mut command = installation.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut push = command.spawn().unwrap();
        // It may have ended without reading.
        let _ = push.stdin.take().unwrap().write_all(input.as_bytes());
        let output = push.wait_with_output().unwrap();
        let error = text(&output.stderr).to_owned();
        let task = text(&output.stdout).lines().nth(1).ok_or_else(|| error.clone())?;
        Ok::<_, String>((serde_json::from_str::<serde_json::Value>(task).unwrap()["sources"].clone(), error))
    };
    let live = "rtsp://10.0.0.5/live";
    let folder = installation.folder.path();
    std::fs::write(folder.join("word"), "lamp-ostrich\n").unwrap();
    std::fs::write(folder.join("empty"), "\n").unwrap();
    for name in ["pipe", "silent"] {
        assert!(Command::new("mkfifo").arg(folder.join(name)).status().unwrap().success());
    }
    let (found, _) = sources(&[live, "gate 1.mp4", "--user", "ann", "--password-file", "word"], "").unwrap();
    let (video, camera) = (&found[0], &found[1]);
    assert_eq!((&camera["user"], &camera["password"]), (&"ann".into(), &"lamp-ostrich".into()));
    assert!(video["user"].is_null() && video["password"].is_null(), "{found}");

    // As from a process substitution of a shell, which only one process can read.
    let pipe = folder.join("pipe");
    let writer = std::thread::spawn(move || std::fs::write(pipe, "through a pipe\n").unwrap());
    let (found, _) = sources(&[live, "--user", "ann", "--password-file", "pipe"], "").unwrap();
    writer.join().unwrap();
    assert_eq!(found[0]["password"], "through a pipe");
    let (found, _) = sources(&[live, "--user", "ann", "--password-file", "-"], "lamp ostrich\nmore").unwrap();
    assert_eq!(found[0]["password"], "lamp ostrich");
    for (arguments, expected) in [
        (&[live, "--user", "ann", "--password-file", "-"][..], "there is no password on standard input"),
        (&[live, "--user", "ann", "--password-file", "empty"], "there is no password in empty"),
        (&[live, "--user", "ann", "--password-file", "silent"], "nothing was written to it for 5 s"),
        (&[live, "--user", "ann", "--password-file", "/dev/zero"], "neither a file nor a pipe"),
        (&[live, "--user", "ann"], "--user: there is no password for it"),
        (&[live, "--password-file", "word"], "--password-file: there is no user name for it"),
        (&["gate 1.mp4", "--user", "ann"], "--user is for live cameras, and there is none"),
        (&[live, "--start", "3"], "--start is for videos, and there is none"),
    ] {
        let error = sources(arguments, "").unwrap_err();
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn options_of_videos_are_refused_where_there_are_only_images() {
    let installation = Installation::with(None);
    std::fs::write(installation.folder.path().join("a.jpg"), b"\xff\xd8\xff no real image").unwrap();
    for (option, value) in
        [("--start", "3"), ("--captured-at", "2026-01-02T03:04:05Z"), ("--duration", "3"), ("--resize", "64x64")]
    {
        let said = text(&installation.push(&["a.jpg", option, value]).stderr).to_owned();
        assert!(said.starts_with(&format!("error: {option} is for videos")), "{said}");
    }
}

#[test]
fn a_name_that_is_not_utf_8_does_not_hold_up_the_others() {
    use std::os::unix::ffi::OsStrExt;
    let installation = Installation::with(Some(r#"read -r task; echo "$task""#));
    let bad = std::ffi::OsStr::from_bytes(b"bad\xff.mp4");
    std::fs::write(installation.folder.path().join(bad), MP4).unwrap();
    let output = installation.push(&["."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("gate 1.mp4"), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(said.contains("bad\u{fffd}.mp4: the name is not valid UTF-8"), "{said}");
}

#[test]
fn videos_of_one_name_without_a_stream_are_a_warning() {
    let installation = Installation::with(Some("read -r task"));
    let other = installation.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("gate 1.mp4"), MP4).unwrap();
    let cameras = ["rtsp://ann:hidden@10.0.0.5/1?token=hidden", "rtsp://10.0.0.5/2"];
    let said = |arguments: &[&str]| text(&installation.push(arguments).stderr).to_owned();
    let warning = said(&["gate 1.mp4", "other/gate 1.mp4", cameras[0], cameras[1]]);
    assert!(warning.contains("warning: gate 1.mp4 and other/gate 1.mp4 go into one stream, gate-1;"), "{warning}");
    assert!(warning.contains("warning: the camera at 10.0.0.5 and the camera at 10.0.0.5 go into one"), "{warning}");
    let odd = said(&["rtsp://ann:hidden/1@10.0.0.5", "rtsp://ann:hidden/2@10.0.0.5"]);
    assert!(!warning.contains("hidden") && !odd.contains("hidden"), "{warning} {odd}");
    assert_eq!(said(&["gate 1.mp4", "other/gate 1.mp4", "--stream", "gate"]), "", "a stream that was named is meant");
}

#[test]
fn a_failure_of_the_camera_program_is_one_of_the_push() {
    let installation = Installation::with(Some("echo 'gate 1.mp4: it is empty' >&2; exit 1"));
    let output = installation.push(&["gate 1.mp4"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).lines().count(), 2, "{}", text(&output.stderr));
    let interrupted = Installation::with(Some("exit 130")).push(&["gate 1.mp4"]);
    assert_eq!(interrupted.status.code(), Some(130), "{}", text(&interrupted.stderr));
}
