//! `push` of videos and live cameras: the command starts the camera program, and runs without it. A script stands in for the program.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

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

    fn push(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.folder.path().join("sightline"));
        command.arg("push").args(arguments).args(["--token", "token-of-the-test"]);
        command.env_clear().current_dir(&self.folder).output().unwrap()
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
fn a_failure_of_the_camera_program_is_one_of_the_push() {
    let installation = Installation::with(Some("echo 'gate 1.mp4: it is empty' >&2; exit 1"));
    let output = installation.push(&["gate 1.mp4"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).lines().count(), 2, "{}", text(&output.stderr));
    let interrupted = Installation::with(Some("exit 130")).push(&["gate 1.mp4"]);
    assert_eq!(interrupted.status.code(), Some(130), "{}", text(&interrupted.stderr));
}
