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
    let check =
        r#"[ "$*" = "--config list.yaml check" ] && echo "error: list.yaml: cameras: the list is empty" >&2; exit 2"#;
    let installation = Installation::with(Some(check));
    let mut up = Command::new(installation.folder.path().join("sightline"));
    up.args([
        "up",
        "--cameras",
        "list.yaml",
        "--http-addr",
        "127.0.0.1:0",
        "--admin-addr",
        "off",
        "--data-dir",
        "data",
    ]);
    let output = up.env_clear().current_dir(&installation.folder).output().unwrap();
    let said = text(&output.stderr).lines().last().unwrap();
    assert_eq!(said, "error: SIGHTLINE_CAMERAS: list.yaml: cameras: the list is empty");
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
    let (arguments, task) = text(&output.stdout).split_once('\n').unwrap();
    assert_eq!(arguments, "push");
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
        let (_, task) = text(&output.stdout).split_once('\n').ok_or_else(|| error.clone())?;
        Ok::<_, String>((serde_json::from_str::<serde_json::Value>(task).unwrap()["sources"].clone(), error))
    };
    let live = "rtsp://10.0.0.5/live";
    let (found, _) = sources(&[live, "gate 1.mp4", "--user", "ann", "--password-file", "word"], "").unwrap();
    let (video, camera) = (&found[0], &found[1]);
    assert_eq!((&camera["user"], &camera["password_file"]), (&"ann".into(), &"word".into()));
    assert!(camera["password"].is_null() && video["user"].is_null() && video["password_file"].is_null(), "{found}");

    let (found, _) = sources(&[live, "--user", "ann", "--password-file", "-"], "lamp ostrich\nmore").unwrap();
    assert_eq!((&found[0]["password"], &found[0]["password_file"]), (&"lamp ostrich".into(), &serde_json::Value::Null));
    let none = sources(&[live, "--password-file", "-"], "").unwrap_err();
    assert!(none.contains("there is no password on standard input"), "{none}");
    let file = sources(&["gate 1.mp4", "--user", "ann"], "").unwrap_err();
    assert!(file.contains("--user and --password-file are for live cameras"), "{file}");
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
