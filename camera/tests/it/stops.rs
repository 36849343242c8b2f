//! What the server knows of a camera after its program was stopped.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::clips::Clip;
use crate::healthcheck::wait_for;
use crate::live::motion_jpeg;
use crate::server::Server;

/// Runs the program with this list, and stops it once it is so.
fn stop_once(server: &Server, list: &str, is_so: impl Fn() -> bool) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command.args(["--server", server.url(), "--admin-addr", "off", "--probe-addr", "off", "--config"]).arg(file.path());
    let mut program = command.env("SIGHTLINE_TOKEN", "token-of-the-test").stderr(Stdio::null()).spawn().unwrap();
    wait_for(is_so);
    assert!(Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap().success());
    assert!(program.wait().unwrap().success());
}

#[test]
fn a_stop_reports_the_last_state_of_each_camera() {
    let folder = tempfile::tempdir().unwrap();
    let own = Server::start();
    let clip = Clip { frames: 3, ..Clip::default() }.write(folder.path(), "a.mp4");
    own.push(&clip, &json!({}));
    let url = motion_jpeg(&own.frames()[0].jpeg);
    let server = Server::start();
    let list = format!(
        "cameras:\n  - {{stream: gate, url: '{url}', motion_gate: false}}\n  - {{stream: yard, url: 'rtsp://127.0.0.1:1/'}}\n  \
         - {{stream: clip, url: {}}}\n",
        clip.display()
    );
    let of = |stream: &str| {
        let states = server.states().into_iter().filter(|(name, _)| name == stream);
        states.map(|(_, state)| state).collect::<Vec<_>>()
    };
    let is_running = || {
        let has_frames = ["gate", "clip"].iter().all(|name| server.frames().iter().any(|frame| frame.stream == *name));
        has_frames && of("yard").iter().any(|state| state["state"] == "failed") && !of("clip").is_empty()
    };
    stop_once(&server, &list, is_running);
    let last = |stream: &str| of(stream).pop().unwrap();
    let (gate, yard, clip) = (last("gate"), last("yard"), last("clip"));
    assert_eq!((&gate["state"], &gate["last_error"]), (&json!("ended"), &json!("stopped")));
    assert!(gate["frames_sent"].as_u64() > Some(0), "{gate}");
    assert!(yard["last_error"].as_str().unwrap().starts_with("stopped; the last error was: "), "{yard}");
    assert_eq!((&clip["state"], &clip["last_error"]), (&json!("ended"), &json!(null)), "it was at its end before");
}

#[test]
fn a_push_that_is_given_up_reports_why_also_to_a_busy_server() {
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip { frames: 400, ..Clip::default() }.write(folder.path(), "a.mp4");
    // One frame waits, and the next one is refused for good with all that follow.
    let server = Server::refusing(&[(503, Some(1)), (403, None)]);
    server.refuse_states(3);
    let pushed = server.push(&clip, &json!({}));
    assert!(!pushed.succeeded && !pushed.errors.contains("the state of the stream"), "{}", pushed.errors);
    let (_, last) = server.states().pop().unwrap();
    let why = last["last_error"].as_str().unwrap();
    assert!(why.starts_with("failed: the server refuses all frames: 403"), "{why}");
    assert_eq!(last["state"], "ended", "it stays so, and does not become `unknown`");
}
