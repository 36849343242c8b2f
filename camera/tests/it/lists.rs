//! Lists of cameras: what is said of them before anything begins, and what becomes of their recordings.

use std::process::{Command, Output};

use crate::clips::Clip;
use crate::server::Server;

fn camera(arguments: &[&str], list: &str, folder: &std::path::Path) -> Output {
    std::fs::write(folder.join("cameras.yaml"), list).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command.args(arguments).current_dir(folder).env("SIGHTLINE_TOKEN", "token-of-the-test");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_check_names_all_mistakes_and_says_that_a_list_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let good = "cameras: [{stream: a, url: 'rtsp://10.0.0.5/'}, {stream: b, url: 'rtsp://10.0.0.6/'}]";
    for arguments in [["--config", "cameras.yaml", "check"], ["check", "--config", "cameras.yaml"]] {
        let output = camera(&arguments, good, folder.path());
        let said = (output.status.success(), text(&output.stdout), text(&output.stderr));
        assert_eq!(said, (true, "cameras.yaml: 2 cameras are right\n", ""), "{arguments:?}");
    }
    let bad =
        "cameras: [{stream: a, url: 10.0.0.5/live}, {stream: b, url: 'rtsp://b/', user: ann}, {stream: c, url: .}]";
    let all = &["10.0.0.5/live: there is no such file", "there is no password", "is a folder"][..];
    for (arguments, mistakes) in [
        (&["check", "--config", "cameras.yaml"][..], all),
        // A recording that was removed stops no camera.
        (&["check", "--list-only", "--config", "cameras.yaml"], &all[1..2]),
        (&["--config", "cameras.yaml"], &all[1..2]),
    ] {
        let output = camera(arguments, bad, folder.path());
        let lines: Vec<&str> = text(&output.stderr).lines().collect();
        assert!(!output.status.success() && lines.len() == mistakes.len(), "{lines:?}");
        for (line, expected) in lines.iter().zip(mistakes) {
            assert!(line.starts_with("error: cameras.yaml: camera ") && line.contains(*expected), "{line}");
        }
    }
    let forgotten =
        "cameras: [{stream: a, url: 'ann:hidden@10.0.0.5/live'}, {stream: b, url: '10.0.0.5/password=hidden'}]";
    let said = camera(&["check", "--config", "cameras.yaml"], forgotten, folder.path()).stderr;
    assert!(text(&said).contains("there is no such file") && !text(&said).contains("hidden"), "{}", text(&said));
    let open = "cameras: [{stream: a, url: 'rtsp://ann:hidden@10.0.0.5/'}]";
    let output = camera(&["check", "--config", "cameras.yaml"], open, folder.path());
    let warning = text(&output.stderr);
    assert!(output.status.success() && warning.contains("run chmod 600 cameras.yaml"), "{warning}");
}

#[test]
fn a_recording_that_cannot_be_sent_is_named_and_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    Clip { frames: 3, ..Clip::default() }.write(folder.path(), "good.mp4");
    std::fs::write(folder.path().join("bad.mp4"), "no video").unwrap();
    let server = Server::start();
    let arguments =
        ["--config", "cameras.yaml", "--server", server.url(), "--admin-addr", "off", "--probe-addr", "off"];
    let good = "{stream: good, url: good.mp4}";
    let output = camera(&arguments, &format!("cameras: [{good}]"), folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = camera(&arguments, &format!("cameras: [{good}, {{stream: bad, url: bad.mp4}}]"), folder.path());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("error: not sent to its end: bad.mp4") && said.contains("error: bad: bad.mp4: it is not a video"),
        "{said}"
    );
    let (_, last) = server.states().into_iter().rfind(|(stream, _)| stream == "bad").unwrap();
    assert!(
        last["state"] == "ended" && last["last_error"].as_str().unwrap().starts_with("failed: it is not a video"),
        "{last}"
    );
}
