//! Uploads that are refused: wrong type, wrong size, too slow, endless.

use std::net::SocketAddr;
use std::time::Duration;

use contracts::TopicRole;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ADMIN, TIMEOUT, TestServer, jpeg, png, problem};

#[tokio::test]
async fn a_body_that_is_not_an_accepted_image_is_refused() {
    let server = TestServer::start().await;
    let zip = b"PK\x03\x04\x14\0\0\0".to_vec();
    let bomb = jpeg(60_000, 60_000, 3000);
    let no_size = b"\xff\xd8\xff\xe0\x00\x10JFIF".to_vec();
    for (media_type, body, status, code) in [
        ("image/png", Vec::new(), 422, "empty_body"),
        ("text/plain", png(9, 9, 90), 415, "unsupported_media_type"),
        ("", b"GIF89a".to_vec(), 415, "unsupported_media_type"),
        ("application/octet-stream", b"GIF89a".to_vec(), 415, "unsupported_media_type"),
        ("image/x-png", jpeg(9, 9, 90), 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", png(9, 9, 90), 415, "unsupported_media_type"),
        ("image/gif", b"GIF89a".to_vec(), 415, "unsupported_media_type"),
        ("image/jpeg", b"GIF89a".to_vec(), 415, "unsupported_media_type"),
        ("image/jpeg", b"<html><body>hello</body></html>".to_vec(), 415, "unsupported_media_type"),
        ("image/webp", zip, 415, "unsupported_media_type"),
        ("image/jpeg", png(9, 9, 90), 415, "unsupported_media_type"),
        ("image/png", png(60_000, 60_000, 500), 422, "image_too_large"),
        ("image/jpeg", bomb, 422, "image_too_large"),
        ("image/png", png(1, 65_536, 500), 422, "image_too_large"),
        ("image/png", png(0, 9, 500), 422, "invalid_image"),
        ("image/jpeg", jpeg(9, 0, 500), 422, "invalid_image"),
        ("image/jpeg", no_size, 422, "invalid_image"),
        ("image/jpeg", b"\xff\xd8".to_vec(), 422, "invalid_image"),
        ("image/png", png(9, 9, (8 << 20) + 1), 413, "too_large"),
        ("image/png", png(9, 9, 100_000_000), 413, "too_large"),
    ] {
        let request = server.request(Method::POST, "/v1/frames").header("content-type", media_type).body(body);
        let (got, got_code, detail) = problem(request.send().await.unwrap()).await;
        assert_eq!((got.as_u16(), got_code.as_str()), (status, code), "{media_type}: {detail}");
        assert!(detail.len() > 20, "{detail}");
        // What curl declares by itself, which people do not know.
        assert!(!media_type.contains("urlencoded") || detail.contains(media_type), "{detail}");
    }
    assert_eq!(server.message_count(TopicRole::Frames).await, 0);
}

#[tokio::test]
async fn an_image_of_another_type_is_named_whatever_its_declared_type() {
    let server = TestServer::start().await;
    for (body, name) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"GIF89a\x01\0\x01\0", "GIF"),
    ] {
        let request = server.request(Method::POST, "/v1/frames").header("content-type", "image/jpeg").body(body);
        let (status, code, detail) = problem(request.send().await.unwrap()).await;
        assert_eq!((status.as_u16(), code.as_str()), (415, "unsupported_media_type"));
        assert_eq!(detail, format!("this is {name}; send JPEG, PNG or WebP"));
    }
}

async fn connect(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /v1/frames HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The response, read while the request is still open, up to the problem's detail.
async fn read_response(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut got = Vec::new();
    let read = async {
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&got).contains("detail") {
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "closed without a response: {}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&piece[..length]);
        }
    };
    tokio::time::timeout(TIMEOUT, read).await.expect("a response");
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn the_first_bytes_can_refuse_an_upload_early() {
    let server = TestServer::start().await;
    let (large, small) = ("content-length: 100000000", "content-length: 5000000");
    for (head, sent, expected) in [
        (format!("content-type: image/png\r\n{large}"), Vec::new(), "413"),
        (format!("content-type: text/html\r\n{small}"), Vec::new(), "415"),
        (format!("content-type: image/png\r\n{small}"), b"<ht".to_vec(), "415"),
        (format!("content-type: image/jpeg\r\n{small}"), png(9, 9, 0), "415"),
        (format!("content-type: image/png\r\n{small}"), png(60_000, 60_000, 0), "422"),
        ("content-type: image/png\r\ntransfer-encoding: chunked".to_owned(), b"4\r\nGIF8\r\n".to_vec(), "415"),
    ] {
        let mut stream = connect(server.address, &head).await;
        stream.write_all(&sent).await.unwrap();
        let response = read_response(&mut stream).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {expected}")), "{head}: {response}");
    }
}

#[tokio::test]
async fn stalled_and_trickling_uploads_time_out() {
    let server = TestServer::with_flags(&["--ingest-idle-seconds", "1", "--ingest-upload-seconds", "2"]).await;
    let head = "content-type: image/png\r\ncontent-length: 5000";
    let mut stalled = connect(server.address, head).await;
    stalled.write_all(&png(9, 9, 100)).await.unwrap();
    let trickling = connect(server.address, head).await;
    let (mut reading, mut writing) = trickling.into_split();
    let trickle = tokio::spawn(async move {
        for byte in png(9, 9, 4000) {
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for response in [read_response(&mut stalled).await, read_response(&mut reading).await] {
        assert!(response.starts_with("HTTP/1.1 408"), "{response}");
        assert!(response.contains("slow_upload"), "{response}");
    }
    trickle.abort();
}

#[tokio::test]
async fn an_endless_body_is_refused_with_bounded_memory() {
    let server = TestServer::start().await;
    let before = peak_memory();
    let mut sending = Vec::new();
    for _ in 0..8 {
        let address = server.address;
        sending.push(tokio::spawn(async move {
            let stream = connect(address, "content-type: image/png\r\ntransfer-encoding: chunked").await;
            let (mut reading, mut writing) = stream.into_split();
            let flood = tokio::spawn(async move {
                let first = png(9, 9, 65_536);
                // 100 MB, or until the server closes the connection.
                for _ in 0..1600 {
                    let piece = [b"10000\r\n", &first[..], b"\r\n"].concat();
                    if writing.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            });
            let response = read_response(&mut reading).await;
            assert!(response.starts_with("HTTP/1.1 413"), "{response}");
            flood.await.unwrap();
        }));
    }
    for sending in sending {
        sending.await.unwrap();
    }
    // Eight bodies of at most 8 MiB each, doubled for reallocation, are far from eight times 100 MB. Other tests of this process
    // may hold memory too.
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 400 << 20, "the peak grew by {grown} bytes");
}

/// Peak resident memory of this process, in bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok()).unwrap_or_default() << 10
}
