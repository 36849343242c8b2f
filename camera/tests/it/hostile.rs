//! Live sources that want what they must not get: the password for another host, requests without end, time without end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::live::{listen, push};
use crate::server::Server;

type Requests = Arc<Mutex<Vec<String>>>;

/// Reads a request to its empty line; `None` at the end.
pub fn request(stream: &mut TcpStream) -> Option<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    Some(String::from_utf8(text).unwrap())
}

/// A server of RTSP; `answer` is given the method and the address, and returns the state with its further lines. Every request is kept.
fn rtsp(answer: impl Fn(&str, &str) -> String + Clone + Send + 'static) -> (u16, Requests) {
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    let port = listen(move |mut stream| {
        while let Some(text) = request(&mut stream) {
            let mut words = text.split(' ');
            let (method, address) = (words.next().unwrap(), words.next().unwrap());
            let number = text.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap();
            let (state, lines) = if text.contains("Authorization: Basic") {
                let answer = answer(method, address);
                let (state, lines) = answer.split_once('\n').unwrap_or((&answer, ""));
                (state.to_owned(), lines.to_owned())
            } else {
                ("401 Unauthorized".to_owned(), "WWW-Authenticate: Basic realm=\"x\"\r\n".to_owned())
            };
            kept.lock().unwrap().push(text.clone());
            if stream.write_all(format!("RTSP/1.0 {state}\r\nCSeq: {number}\r\n{lines}\r\n").as_bytes()).is_err() {
                return;
            }
        }
    });
    (port, requests)
}

#[test]
fn a_redirect_takes_the_password_to_no_other_server() {
    let (other, taken) = rtsp(|_, _| "404 Not Found".to_owned());
    for scheme in ["rtsp", "satip"] {
        for at in
            [format!("127.0.0.1:{other}/live"), format!("127.0.0.1@127.0.0.1:{other}/"), format!("localhost:{other}")]
        {
            let location = format!("302 Found\nLocation: {scheme}://{at}\r\n");
            let (port, _) = rtsp(move |_, _| location.clone());
            let pushed = push(&Server::start(), &format!("rtsp://ann:lamp-ostrich@127.0.0.1:{port}/live"));
            let (said, lines) = (&pushed.errors, pushed.errors.lines().count());
            assert!(!pushed.succeeded && lines == 1, "{at}: {said}");
            assert!(said.contains("it redirects to ") && said.contains("another server"), "{at}: {said}");
            assert!(!said.contains("lamp-ostrich"), "{said}");
            assert!(taken.lock().unwrap().is_empty(), "{at}: {:?}", taken.lock().unwrap());
        }
    }
}

#[test]
fn a_redirect_on_the_same_server_is_followed() {
    let (port, requests) = rtsp(|_, address| {
        if address.ends_with("/live") {
            let path = address.replace("/live", "/other");
            format!("302 Found\nLocation: {path}\r\n")
        } else {
            "404 Not Found".to_owned()
        }
    });
    let pushed = push(&Server::start(), &format!("rtsp://ann:lamp-ostrich@127.0.0.1:{port}/live"));
    assert!(pushed.errors.contains("it answers 404"), "{}", pushed.errors);
    let requests = requests.lock().unwrap();
    assert!(requests.last().unwrap().contains("/other "), "{requests:?}");
}

/// A server of HTTP that answers each path with a state, a type and a body, and keeps the paths.
fn http(answer: impl Fn(&str) -> (u16, String) + Clone + Send + 'static) -> (u16, Requests) {
    let paths = Requests::default();
    let kept = Arc::clone(&paths);
    let port = listen(move |mut stream| {
        let Some(text) = request(&mut stream) else { return };
        let path = text.split(' ').nth(1).unwrap().to_owned();
        let (state, body) = answer(&path);
        kept.lock().unwrap().push(path);
        let kind = "Content-Type: application/vnd.apple.mpegurl\r\nConnection: close";
        let head = format!("HTTP/1.1 {state} X\r\n{kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    (port, paths)
}

#[test]
fn a_list_of_very_many_variants_is_given_up() {
    let variants = (0..5000).map(|number| format!("#EXT-X-STREAM-INF:BANDWIDTH={number}\nv{number}.m3u8\n"));
    let master = format!("#EXTM3U\n{}", variants.collect::<String>());
    let (port, paths) = http(move |path| match path {
        "/live.m3u8" => (200, master.clone()),
        _ => (200, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\npart.ts\n".to_owned()),
    });
    let settings = json!({"stall_seconds": 600});
    let address = format!("http://127.0.0.1:{port}/live.m3u8");
    let pushed = Server::start().push(std::path::Path::new(&address), &settings);
    assert_eq!(pushed.errors, format!("{address}: its playlists name more than 250 addresses before a frame\n"));
    let asked = paths.lock().unwrap().len();
    assert!(asked <= 250, "{asked}");
}

#[test]
fn parts_that_are_refused_are_named_and_not_asked_for_without_end() {
    for (state, expected, most) in [
        (404, "the server refuses the parts of its playlist (404)", 8),
        (403, "the server refuses the parts of its playlist (403)", 8),
        (503, "the server refuses the parts of its playlist (5xx)", 8),
        (401, "the camera demands a user name and a password, and none were given", 2),
    ] {
        let parts = (0..20).map(|number| format!("#EXTINF:1,\npart{number}.ts\n")).collect::<String>();
        let (port, paths) = http(move |path| match path {
            "/live.m3u8" => (200, format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PLAYLIST-TYPE:EVENT\n{parts}")),
            _ => (state, String::new()),
        });
        let pushed = push(&Server::start(), &format!("http://127.0.0.1:{port}/live.m3u8"));
        assert_eq!(pushed.errors, format!("http://127.0.0.1:{port}/live.m3u8: {expected}\n"));
        let asked = paths.lock().unwrap().iter().filter(|path| path.contains("part")).count();
        assert!((1..=most).contains(&asked), "{state}: {asked}");
    }
}

#[test]
fn bytes_without_end_and_without_a_frame_are_given_up() {
    let endless = |head: &'static str, part: Vec<u8>| {
        move |mut stream: TcpStream| {
            let _ = request(&mut stream);
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&part).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    };
    let empty_packet = [&b"\x47\x1f\xff\x10"[..], &[0xff; 184]].concat().repeat(10);
    let video = "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n";
    for (scheme, port) in [
        ("http", listen(endless(video, empty_packet))),
        ("http", listen(endless("HTTP/1.1 200 OK\r\n", b"X-Header: of many\r\n".to_vec()))),
        ("rtsp", listen(endless("", b"$\0\0\x10nothing at all..".to_vec()))),
        ("rtsp", listen(endless("RTSP/1.0 200 OK\r\n", b"X-Header: of many\r\n".to_vec()))),
    ] {
        let begun = Instant::now();
        let pushed = push(&Server::start(), &format!("{scheme}://127.0.0.1:{port}/live"));
        assert_eq!(pushed.errors, format!("{scheme}://127.0.0.1:{port}/live: no frame for 2 s\n"));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}
