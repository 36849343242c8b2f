//! What `push` shows on a terminal. `script`, which each Debian has, is the terminal.

use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

use crate::clips::Clip;
use crate::live::motion_jpeg;
use crate::server::Server;

/// Pushes a source on a terminal that is `columns` wide; returns all that was written to it.
fn shown(server: &Server, source: &Value, columns: u16) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("input"), folder.path().join("output"));
    assert!(Command::new("mkfifo").arg(&input).status().unwrap().success());
    let program = env!("CARGO_BIN_EXE_camera");
    let line = format!("stty cols {columns} rows 30; '{program}' push < '{}'", input.display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line]).arg(&output);
    command.env("SIGHTLINE_LOG", "warn").env("TERM", "xterm").env("SHELL", "/bin/sh");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut terminal = command.spawn().unwrap();
    let mut task = std::fs::OpenOptions::new().write(true).open(&input).unwrap();
    let server = json!({"url": server.url(), "token": "token-of-the-test"});
    writeln!(task, "{}", json!({"server": server, "sources": [source]})).unwrap();
    terminal.wait().unwrap();
    // Its end would stop the push.
    drop(task);
    String::from_utf8(std::fs::read(output).unwrap()).unwrap()
}

/// What a terminal has on each line in the end, without colours: a carriage return begins the line anew after it was erased.
fn lines(shown: &str) -> Vec<String> {
    let visible = |line: &str| {
        let line = line.trim_end_matches('\r').rsplit(['\r']).next().unwrap_or_default();
        let parts = line.split('\u{1b}').enumerate();
        parts
            .map(|(index, part)| {
                if index == 0 {
                    part
                } else {
                    part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or_default()
                }
            })
            .collect::<String>()
    };
    shown.lines().map(visible).collect()
}

#[test]
fn a_camera_on_a_terminal_shows_its_state_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let own = Server::start();
    own.push(&Clip { frames: 1, ..Clip::default() }.write(folder.path(), "a.mp4"), &json!({}));
    let url = motion_jpeg(&own.frames()[0].jpeg);
    let server = Server::refusing(&[(503, Some(1))]);
    let source = json!({"stream": "gate", "url": url, "duration": 3.0, "motion_gate": false, "when_slow": "drop"});
    let shown = shown(&server, &source, 100);
    for part in ["connected, ", " frames, ", " acknowledged, 0 refused, ", " dropped, ", "/s"] {
        assert!(shown.contains(part), "{part}: {shown:?}");
    }
    assert!(!shown.contains(" left"), "a camera has no end: {shown:?}");
    let lines = lines(&shown);
    let warning = lines.iter().find(|line| line.contains("a frame waits")).unwrap();
    assert!(warning.starts_with("20"), "the log line begins its line: {warning:?} in {shown:?}");
    assert!(shown.contains(&format!("{url}: ")) && lines.iter().any(|line| line.starts_with(&url)), "{lines:?}");
    assert!(shown.contains("frames acknowledged in stream gate"), "{shown:?}");
}

#[test]
fn a_narrow_terminal_cuts_the_line_and_an_error_begins_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = Clip { frames: 200, ..Clip::default() }.write(folder.path(), "a.mp4");
    let cut = folder.path().join("cut.mp4");
    // Without its end, so that it is an error after its frames.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&cut, &whole[..whole.len() * 2 / 3]).unwrap();
    for (path, is_whole) in [(&path, true), (&cut, false)] {
        let server = Server::refusing(&[(503, Some(1))]);
        let shown = shown(&server, &json!({"stream": "gate", "url": path, "captured_at": "2026-01-02T03:04:05Z"}), 40);
        let lines = lines(&shown);
        let bars: Vec<_> = shown.split(['\r', '\n']).filter(|part| part.contains("/200 frames")).collect();
        assert!(!is_whole || !bars.is_empty(), "{shown:?}");
        for bar in bars {
            let width = bar.split('\u{1b}').map(|part| part.trim_start_matches("[2K").chars().count()).max();
            assert!(width <= Some(40), "{bar:?}");
        }
        let name = path.to_str().unwrap();
        let result = lines.iter().rev().find(|line| line.contains(name)).unwrap();
        assert!(result.starts_with(name) || result.starts_with("error: "), "{result:?} in {shown:?}");
    }
}
