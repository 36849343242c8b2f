//! Whatever clients send, they get a 4xx problem that says what would be right: never a 5xx, never a panic.

use std::net::SocketAddr;
use std::time::Duration;

use contracts::TopicRole;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{ADMIN, PATIENCE, Site, jpeg, png, problem};

#[tokio::test]
async fn a_body_that_is_no_image_of_ours_is_refused_by_its_code() {
    let site = Site::start().await;
    let zip = b"PK\x03\x04\x14\0\0\0".to_vec();
    let lying = jpeg(60_000, 60_000, 3000);
    let no_size = b"\xff\xd8\xff\xe0\x00\x10JFIF".to_vec();
    for (media_type, body, status, code) in [
        ("image/png", Vec::new(), 422, "empty_body"),
        ("text/plain", png(9, 9, 90), 415, "unsupported_media_type"),
        ("", png(9, 9, 90), 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", png(9, 9, 90), 415, "unsupported_media_type"),
        ("image/gif", b"GIF89a".to_vec(), 415, "unsupported_media_type"),
        ("image/jpeg", b"GIF89a".to_vec(), 415, "unsupported_media_type"),
        ("image/jpeg", b"<html><body>hello</body></html>".to_vec(), 415, "unsupported_media_type"),
        ("image/webp", zip, 415, "unsupported_media_type"),
        ("image/jpeg", png(9, 9, 90), 415, "unsupported_media_type"),
        ("image/png", png(60_000, 60_000, 500), 422, "image_too_large"),
        ("image/jpeg", lying, 422, "image_too_large"),
        ("image/png", png(0, 9, 500), 422, "invalid_image"),
        ("image/jpeg", jpeg(9, 0, 500), 422, "invalid_image"),
        ("image/jpeg", no_size, 422, "invalid_image"),
        ("image/jpeg", b"\xff\xd8".to_vec(), 422, "invalid_image"),
        ("image/png", png(9, 9, (8 << 20) + 1), 413, "too_large"),
        ("image/png", png(9, 9, 100_000_000), 413, "too_large"),
    ] {
        let request = site.request(Method::POST, "/v1/frames").header("content-type", media_type).body(body);
        let (got, got_code, detail) = problem(request.send().await.unwrap()).await;
        assert_eq!((got.as_u16(), got_code.as_str()), (status, code), "{media_type}: {detail}");
        assert!(detail.len() > 20, "{detail}");
    }
    assert_eq!(site.messages(TopicRole::Frames).await, 0);
}

#[tokio::test]
async fn bad_values_are_refused_with_what_would_be_right() {
    let site = Site::start().await;
    for (method, path, hint) in [
        ("POST", "/v1/frames?stream=a%20b", "A-Z a-z 0-9"),
        ("POST", "/v1/frames?stream=", "1 to 64"),
        ("POST", "/v1/frames?strem=a", "there are captured_at, stream, detectors"),
        ("POST", "/v1/frames?stream=a&stream=b", "stream is given twice"),
        ("POST", "/v1/frames?captured_at=yesterday", "2026-01-02T03:04:05Z"),
        ("POST", "/v1/frames?captured_at=2026-01-02T03:04:05+01:00", "%2B"),
        ("POST", "/v1/frames?captured_at=-004004-01-01T00:00:00Z", "captured_at"),
        ("POST", "/v1/frames?captured_at=2100-01-01T00:00:00Z", "clocks may be ahead by at most 1h"),
        ("POST", "/v1/frames?detectors=face,nose", "there are face"),
        ("POST", "/v1/frames?detectors=", "there are face"),
        ("GET", "/v1/frames?limit=0", "1 to 1000"),
        ("GET", "/v1/frames?limit=1001", "1 to 1000"),
        ("GET", "/v1/frames?limit=-1", "1 to 1000"),
        ("GET", "/v1/frames?limit=ten", "1 to 1000"),
        ("GET", "/v1/frames?cursor=abc", "next_cursor"),
        ("GET", "/v1/frames?cursor=%00%ff", "next_cursor"),
        ("GET", "/v1/frames?label=face", "there is no parameter \"label\""),
        ("GET", "/v1/frames?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "before"),
        ("GET", "/v1/frames/17", "UUID"),
        ("GET", "/v1/frames/17/image", "UUID"),
        ("GET", "/v1/detections?min_confidence=1.5", "from 0 to 1"),
        ("GET", "/v1/detections?min_confidence=NaN", "from 0 to 1"),
        ("GET", "/v1/detections?label=", "1 to 128"),
        ("GET", "/v1/detections?make=%00", "1 to 128"),
        ("GET", "/v1/detections/17", "<frame id>-<detector>-<number>"),
        ("GET", "/v1/stats?group_by=colour", "must be make, model"),
        ("GET", "/v1/alerts/history?rule=", "1 to 128"),
        ("GET", "/v1/rules/17", "UUID"),
        ("DELETE", "/v1/rules/17", "UUID"),
        ("GET", "/v1/rules?limit=5", "no parameters"),
        ("GET", "/detections?skip=-1", "from 0"),
        ("GET", "/detections?limit=0", "1 to 1000"),
        ("GET", "/stats?group_by=make", "no parameters"),
    ] {
        let request = site.request(method.parse().unwrap(), path).header("content-type", "image/png");
        let body = if method == "POST" { png(9, 9, 90) } else { Vec::new() };
        let (status, code, detail) = problem(request.body(body).send().await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"), "{path}: {detail}");
        assert!(detail.contains(hint), "{path}: {detail}");
    }
}

#[tokio::test]
async fn bad_json_is_refused_with_what_would_be_right() {
    let site = Site::start().await;
    let wide = json!({"label": "x", "box": {"x": 1e9, "y": 0, "width": 1, "height": 1}}).to_string();
    let negative = json!({"label": "x", "box": {"x": 0, "y": 0, "width": -1, "height": 1}}).to_string();
    for (path, body, status, hint) in [
        ("/v1/detections", "", 400, "empty"),
        ("/v1/detections", "{", 400, "not JSON"),
        ("/v1/detections", r#"{"label": "x", "confidence": NaN}"#, 400, "not JSON"),
        ("/v1/detections", r#"{"label": "x", "box": {"x": NaN}}"#, 400, "not JSON"),
        ("/v1/detections", r#"{"label": "x", "confidence": 1e999}"#, 400, "not JSON"),
        ("/v1/detections", "{}", 422, "label"),
        ("/v1/detections", "[]", 422, "object"),
        ("/v1/detections", r#"{"label": ""}"#, 422, "1 to 64"),
        ("/v1/detections", r#"{"label": "x", "confidence": 1.1}"#, 422, "0 to 1"),
        ("/v1/detections", r#"{"label": "x", "colour": "red"}"#, 422, "colour"),
        ("/v1/detections", r#"{"label": "x", "box": {"x": 1}}"#, 422, "y"),
        ("/v1/detections", r#"{"label": "x", "captured_at": "soon"}"#, 422, "captured_at: "),
        ("/v1/detections", r#"{"label": "x", "captured_at": "1066-10-14T00:00:00Z"}"#, 422, "1970"),
        ("/v1/detections", r#"{"label": "x", "captured_at": "2100-01-01T00:00:00Z"}"#, 422, "future"),
        ("/v1/detections", r#"{"label": "x", "stream": "a/b"}"#, 422, "A-Z"),
        ("/v1/detections", &wide, 422, "1000000"),
        ("/v1/detections", &negative, 422, "not negative"),
        ("/v1/rules", r#"{"name": "r", "condition": "label =="}"#, 422, "condition"),
        ("/v1/rules", r#"{"name": "r", "condition": "nonsense(label)"}"#, 422, "condition"),
        ("/v1/rules", r#"{"name": "", "condition": "true"}"#, 422, "name"),
        ("/v1/rules", r#"{"name": "r"}"#, 422, "condition"),
    ] {
        let request = site.request(Method::POST, path).header("content-type", "application/json");
        let (got, _, detail) = problem(request.body(body.to_owned()).send().await.unwrap()).await;
        assert_eq!(got.as_u16(), status, "{body}: {detail}");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    let text = site.request(Method::POST, "/v1/detections").header("content-type", "text/plain").body("{}");
    assert_eq!(problem(text.send().await.unwrap()).await.1, "unsupported_media_type");
    let long = format!(r#"{{"label": "{}"}}"#, "x".repeat(300_000));
    let long = site.request(Method::POST, "/v1/detections").header("content-type", "application/json").body(long);
    assert_eq!(problem(long.send().await.unwrap()).await.1, "too_large");
    assert_eq!(site.messages(TopicRole::Results).await, 0);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let site = Site::start().await;
    for path in ["/v1", "/v2/frames", "/v1/frames/", "/v1/frames/a/b", "/../etc/passwd", "/%00", "/v1/frames%2F17"] {
        let (status, code, _) = problem(site.request(Method::GET, path).send().await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::NOT_FOUND, "unknown_path"), "{path}");
    }
    for (method, path, allowed) in [
        ("DELETE", "/v1/frames", ["GET", "POST"].as_slice()),
        ("POST", "/v1/stats", &["GET"]),
        ("PUT", "/v1/rules/17", &["GET", "PATCH", "DELETE"]),
        ("POST", "/healthz", &["GET"]),
        ("POST", "/openapi.json", &["GET"]),
        ("PUT", "/v1/alerts", &["GET"]),
        ("GET", "/v1/alerts/cookie", &["POST"]),
        ("OPTIONS", "/v1/detections", &["GET", "POST"]),
        ("BREW", "/v1/detections", &["GET", "POST"]),
    ] {
        let response = site.request(method.parse().unwrap(), path).send().await.unwrap();
        let allow = response.headers()["allow"].to_str().unwrap().to_owned();
        let (status, code, _) = problem(response).await;
        assert_eq!((status.as_u16(), code.as_str()), (405, "method_not_allowed"), "{method} {path}");
        assert!(allowed.iter().all(|name| allow.contains(name)), "{method} {path}: {allow}");
    }
}

#[tokio::test]
async fn what_is_told_of_bad_input_is_in_our_words() {
    let site = Site::start().await;
    let json = |path: &str, body: &str| {
        let request = site.request(Method::POST, path).header("content-type", "application/json");
        request.body(body.to_owned()).send()
    };
    let form = site.request(Method::POST, "/v1/frames").header("content-type", "multipart/form-data; boundary=b");
    for response in [
        json("/v1/detections", r#"{"label": 5}"#).await,
        json("/v1/detections", r#"{"label": "x", "captured_at": "2026-13-01T00:00:00Z"}"#).await,
        json("/v1/rules", r#"{"name": "r", "condition": "label =="}"#).await,
        json("/v1/rules", r#"{"name": "r", "condition": "1 / 0 == 1"}"#).await,
        form.body("--b\r\nnonsense\r\n\r\n").send().await,
        site.request(Method::GET, "/v1/frames?x=1").send().await,
    ] {
        let (_, _, detail) = problem(response.unwrap()).await;
        for foreign in ["expected", "invalid type", "deserialize", "`", "mismatched", "EOF", "parse", "Int(", "headers"]
        {
            assert!(!detail.contains(foreign), "{detail}");
        }
    }
}

async fn connect(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /v1/frames HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The status and code of what a server answers while the request is still open.
async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut got = Vec::new();
    let read = async {
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&got).contains("detail") {
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "closed without an answer: {}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&piece[..length]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer");
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn what_the_first_bytes_betray_is_refused_before_the_rest_arrives() {
    let site = Site::start().await;
    let (large, small) = ("content-length: 100000000", "content-length: 5000000");
    for (head, sent, expected) in [
        (format!("content-type: image/png\r\n{large}"), Vec::new(), "413"),
        (format!("content-type: text/html\r\n{small}"), Vec::new(), "415"),
        (format!("content-type: image/png\r\n{small}"), b"<ht".to_vec(), "415"),
        (format!("content-type: image/jpeg\r\n{small}"), png(9, 9, 0), "415"),
        (format!("content-type: image/png\r\n{small}"), png(60_000, 60_000, 0), "422"),
        ("content-type: image/png\r\ntransfer-encoding: chunked".to_owned(), b"4\r\nGIF8\r\n".to_vec(), "415"),
    ] {
        let mut stream = connect(site.address, &head).await;
        stream.write_all(&sent).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{head}: {answer}");
    }
}

#[tokio::test]
async fn an_upload_that_stalls_or_trickles_is_given_up() {
    let site = Site::with(&["--ingest-idle-seconds", "1", "--ingest-upload-seconds", "2"]).await;
    let head = "content-type: image/png\r\ncontent-length: 5000";
    let mut stalled = connect(site.address, head).await;
    stalled.write_all(&png(9, 9, 100)).await.unwrap();
    let trickling = connect(site.address, head).await;
    let (mut reading, mut writing) = trickling.into_split();
    let trickle = tokio::spawn(async move {
        for byte in png(9, 9, 4000) {
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for answer in [answer(&mut stalled).await, answer(&mut reading).await] {
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("slow_upload"), "{answer}");
    }
    trickle.abort();
}

#[tokio::test]
async fn a_body_without_end_is_refused_and_never_held() {
    let site = Site::start().await;
    let before = resident();
    let mut sending = Vec::new();
    for _ in 0..8 {
        let address = site.address;
        sending.push(tokio::spawn(async move {
            let stream = connect(address, "content-type: image/png\r\ntransfer-encoding: chunked").await;
            let (mut reading, mut writing) = stream.into_split();
            let flood = tokio::spawn(async move {
                let first = png(9, 9, 65_536);
                // 100 MB, or until the server hangs up.
                for _ in 0..1600 {
                    let piece = [b"10000\r\n", &first[..], b"\r\n"].concat();
                    if writing.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            });
            let answer = answer(&mut reading).await;
            assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
            flood.await.unwrap();
        }));
    }
    for sending in sending {
        sending.await.unwrap();
    }
    // Eight of at most 8 MiB each, twice for growing: far from eight times 100 MB.
    let grown = resident().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes more are held");
}

/// Most bytes of memory that this process ever had in use.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok()).unwrap_or_default() << 10
}

#[tokio::test]
async fn no_query_whatever_makes_it_fail() {
    let site = Site::start().await;
    let paths = [
        "/v1/frames",
        "/v1/detections",
        "/v1/stats",
        "/v1/alerts/history",
        "/v1/rules",
        "/detections",
        "/stats",
        "/v1/frames/01890a5d-ac96-774b-bcce-b302099a8057",
        "/v1/detections/x",
        "/readyz",
        "/docs/x",
    ];
    let names = [
        "from",
        "to",
        "stream",
        "label",
        "category",
        "make",
        "min_confidence",
        "limit",
        "cursor",
        "group_by",
        "skip",
        "rule",
        "x",
    ];
    let values = [
        "",
        "0",
        "1",
        "-1",
        "1e9",
        "9223372036854775808",
        "NaN",
        "2026-01-02T03:04:05Z",
        "9999-12-31T23:59:59.999999999Z",
        "-009999-01-02T01:59:59Z",
        "1969-12-31T23:59:59Z",
        "%",
        "%zz",
        "%ff",
        "%00",
        "a",
        "'",
        "$gt",
        "%7B%22$ne%22:1%7D",
        "hour",
        "make",
        "MS4wLmE",
        "MS45MjIzMzcyMDM2ODU0Nzc1ODA3LmE",
        "1;2",
        "&",
        "=",
        "\u{fc}",
        "0.5",
        "+",
    ];
    // A simple generator: the same questions on every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut pick = |length: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % length
    };
    for _ in 0..1500 {
        let path = paths[pick(paths.len())];
        let pairs: Vec<String> =
            (0..pick(4)).map(|_| format!("{}={}", names[pick(names.len())], values[pick(values.len())])).collect();
        let target = format!("{path}?{}", pairs.join("&"));
        let response = site.request(Method::GET, &target).send().await.unwrap();
        assert!(response.status().as_u16() < 500, "{target}: {}", response.text().await.unwrap());
    }
}
