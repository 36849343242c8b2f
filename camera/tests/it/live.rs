//! Live sources that answer wrongly or not at all. `scripts/camera-check` has real cameras.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::clips::Clip;
use crate::server::{Pushed, Server};

/// A server on a port of its own; returns the port.
pub fn listen(answer: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
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

/// A camera that sends this image 25 times a second, as Motion JPEG; returns its address.
pub fn motion_jpeg(jpeg: impl AsRef<[u8]>) -> String {
    let part = [b"--part\r\nContent-Type: image/jpeg\r\n\r\n", jpeg.as_ref(), b"\r\n"].concat();
    let port = listen(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=part\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(&part).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(40));
        }
    });
    format!("http://127.0.0.1:{port}/live")
}

pub fn push(server: &Server, url: &str) -> Pushed {
    let settings = json!({"stall_seconds": 2, "duration": 1.0, "when_slow": "wait", "motion_gate": false});
    server.push(Path::new(url), &settings)
}

fn push_with(url: &str, settings: &serde_json::Value) -> Pushed {
    Server::start().push(Path::new(url), settings)
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
    for (user_info, shown, expected) in [
        ("ann:lamp-ostrich@", "***@", "the camera refuses the user name and password"),
        ("", "", "the camera demands a user name and a password, and none were given"),
    ] {
        let pushed = push(&Server::start(), &format!("rtsp://{user_info}127.0.0.1:{port}/live"));
        assert_eq!(pushed.errors, format!("rtsp://{shown}127.0.0.1:{port}/live: {expected}\n"));
    }
}

#[test]
fn a_server_that_closes_the_connection_is_named_in_plain_words() {
    let closed = "the server closed the connection";
    for (scheme, answer, expected) in [
        ("http", "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\nonly 18 bytes here", closed),
        ("http", "", closed),
        ("rtsp", "", "it does not answer, or not as a server of RTSP does"),
    ] {
        let port = listen(move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let pushed = push(&Server::start(), &format!("{scheme}://127.0.0.1:{port}/live"));
        let (said, lines) = (&pushed.errors, pushed.errors.lines().count());
        assert!(!pushed.succeeded && lines == 1 && said.contains(&format!("/live: {expected}")), "{said}");
        assert!(!said.contains("prematurely") && !said.contains("Input/output"), "{said}");
    }
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

#[test]
fn the_duration_of_a_camera_begins_with_its_first_frame() {
    let folder = tempfile::tempdir().unwrap();
    let own = Server::start();
    own.push(&Clip { frames: 1, ..Clip::default() }.write(folder.path(), "a.mp4"), &json!({}));
    let jpeg = own.frames()[0].jpeg.clone();
    let port = listen(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        // Longer than the duration.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let head = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=part\r\n\r\n";
        let part = [b"--part\r\nContent-Type: image/jpeg\r\n\r\n", &jpeg[..], b"\r\n"].concat();
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(&part).is_ok() {
            // Frames may come late, and the first one too: so slowly that a second never has more than 25 of them.
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    let server = Server::start();
    let settings = json!({"duration": 1.0, "when_slow": "wait", "motion_gate": false});
    let pushed = server.push(Path::new(&format!("http://127.0.0.1:{port}/live")), &settings);
    let count = server.frames().len();
    assert!(pushed.succeeded && (10..=25).contains(&count), "{count}: {}", pushed.errors);
}

/// A camera with TLS that refuses every password, over RTSP and HTTP; returns its port and its certificate.
fn refusing_with_tls(folder: &Path, name: &str) -> (u16, PathBuf) {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let path = folder.join(format!("{name}.pem"));
    std::fs::write(&path, cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    (refusing_with(cert.der().clone(), &key), path)
}

/// The same with this certificate and a key that need not be its own; returns the port.
fn refusing_with(certificate: CertificateDer<'static>, key: &PrivateKeyDer<'_>) -> u16 {
    let key = rustls::crypto::ring::sign::any_supported_type(key).unwrap();
    let own = rustls::sign::CertifiedKey::new(vec![certificate], key);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let own = rustls::sign::SingleCertAndKey::from(own);
    let config = Arc::new(config.with_no_client_auth().with_cert_resolver(Arc::new(own)));
    listen(move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let mut request = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut request) {
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let protocol = if text.contains("HTTP/1") { "HTTP/1.1" } else { "RTSP/1.0" };
            let number = text.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("1");
            let answer = format!(
                "{protocol} 401 Unauthorized\r\nCSeq: {number}\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A certificate and its key as `openssl` makes them when it is asked for nothing else: for one name, and an authority as well.
fn self_made(folder: &Path, name: &str) -> (PathBuf, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let (path, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let mut command = std::process::Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
    let made = command.arg("-out").arg(&path).arg("-keyout").arg(&key).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let certificate = CertificateDer::from_pem_file(&path).unwrap();
    (path, certificate, PrivateKeyDer::from_pem_file(key).unwrap())
}

#[test]
fn a_certificate_that_a_camera_made_itself_can_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let (own, certificate, key) = self_made(folder.path(), "camera");
    let (other, _, other_key) = self_made(folder.path(), "another");
    let (refused, accepted) = ("its certificate is not accepted", "the camera refuses the user name and password");
    let (port, without_key) = (refusing_with(certificate.clone(), &key), refusing_with(certificate, &other_key));
    for (port, settings, expected) in [
        (port, json!({"tls_ca_file": own}), accepted),
        (port, json!({}), refused),
        (port, json!({"tls_ca_file": other}), refused),
        (without_key, json!({"tls_ca_file": own}), refused),
    ] {
        let pushed = push_with(&format!("rtsps://ann:lamp-ostrich@127.0.0.1:{port}/live"), &settings);
        assert!(!pushed.succeeded && pushed.errors.contains(expected), "{settings}: {}", pushed.errors);
    }
}

#[test]
fn a_certificate_is_checked_unless_that_is_turned_off() {
    let folder = tempfile::tempdir().unwrap();
    let (port, authority) = refusing_with_tls(folder.path(), "127.0.0.1");
    let (other_port, other) = refusing_with_tls(folder.path(), "other.example.com");
    let (refused, accepted) = ("its certificate is not accepted", "the camera refuses the user name and password");
    // Of `rtsps:`, one that is named itself is enough.
    for (scheme, with_another_name) in [("https", refused), ("rtsps", accepted)] {
        for (port, settings, expected) in [
            (port, json!({}), refused),
            (port, json!({"tls_ca_file": other}), refused),
            (other_port, json!({"tls_ca_file": other}), with_another_name),
            (port, json!({"tls_ca_file": authority}), accepted),
            (other_port, json!({"tls_verify": false}), accepted),
        ] {
            let pushed = push_with(&format!("{scheme}://ann:lamp-ostrich@127.0.0.1:{port}/live"), &settings);
            let (said, lines) = (&pushed.errors, pushed.errors.lines().count());
            assert!(!pushed.succeeded && lines == 1 && said.contains(expected), "{scheme} {settings}: {said}");
            assert!(expected == accepted || said.contains("(tls_verify)"), "{said}");
        }
    }
}

#[test]
fn the_parts_of_a_playlist_need_the_right_certificate_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let (port, _) = refusing_with_tls(folder.path(), "127.0.0.1");
    let playlist = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttps://127.0.0.1:{port}/part.ts\n");
    let lists = listen(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let length = playlist.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(format!("{head}{playlist}").as_bytes());
    });
    let pushed = push(&Server::start(), &format!("http://127.0.0.1:{lists}/live.m3u8"));
    assert!(pushed.errors.contains("its certificate is not accepted"), "{}", pushed.errors);
}
