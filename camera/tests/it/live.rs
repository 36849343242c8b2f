//! Live sources that answer wrongly or not at all. `scripts/camera-check` has real cameras.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use serde_json::json;

use crate::clips::Clip;
use crate::server::{Pushed, Server};

/// A server on a port of its own; returns the port.
fn listen(answer: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), answer.clone());
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn push(server: &Server, url: &str) -> Pushed {
    let settings = json!({"stall_seconds": 2, "duration": 1.0, "when_slow": "wait", "motion_gate": false});
    server.push(Path::new(url), &settings)
}

#[test]
fn a_server_that_says_nothing_is_one_line_without_its_password() {
    let silent = listen(std::mem::forget);
    for scheme in ["rtsp", "http"] {
        let pushed = push(&Server::start(), &format!("{scheme}://ann:lamp-ostrich@127.0.0.1:{silent}/live"));
        assert!(!pushed.succeeded);
        let expected = format!("{scheme}://***@127.0.0.1:{silent}/live: no frame for 2 s\n");
        assert_eq!(pushed.errors, expected);
    }
}

#[test]
fn a_refused_password_is_named_and_not_shown() {
    let port = listen(|mut stream| {
        let mut request = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut request) {
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let number = text.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("1");
            let answer =
                format!("RTSP/1.0 401 Unauthorized\r\nCSeq: {number}\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let pushed = push(&Server::start(), &format!("rtsp://ann:lamp-ostrich@127.0.0.1:{port}/live"));
    assert_eq!(
        pushed.errors,
        format!("rtsp://***@127.0.0.1:{port}/live: the camera refuses the user name and password\n")
    );
}

#[test]
fn motion_jpeg_with_wrong_part_lengths_gives_frames_or_a_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let own = Server::start();
    own.push(&Clip { frames: 1, ..Clip::default() }.write(folder.path(), "a.mp4"), &json!({}));
    let jpeg = own.frames()[0].jpeg.clone();
    for length in [None, Some(0), Some(-500), Some(300), Some(1 << 40)] {
        let jpeg = jpeg.clone();
        let port = listen(move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=part\r\n\r\n";
            let mut part = b"--part\r\nContent-Type: image/jpeg\r\n".to_vec();
            if let Some(wrong) = length {
                let announced = i64::try_from(jpeg.len()).unwrap() + wrong;
                part.extend(format!("Content-Length: {announced}\r\n").into_bytes());
            }
            part.extend_from_slice(b"\r\n");
            part.extend_from_slice(&jpeg);
            part.extend_from_slice(b"\r\n");
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&part).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(40));
            }
        });
        let server = Server::start();
        let pushed = push(&server, &format!("http://127.0.0.1:{port}/live"));
        assert!(!pushed.errors.contains("panicked"), "{length:?}: {}", pushed.errors);
        let is_right = length.is_none_or(|wrong| wrong == 0);
        let is_clear = pushed.errors.lines().count() == 1 && pushed.errors.contains("/live: ");
        assert!(!server.frames().is_empty() || is_clear && !is_right, "{length:?}: {}", pushed.errors);
    }
}
