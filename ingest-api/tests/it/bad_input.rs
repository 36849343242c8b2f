//! Bad input of any kind gets a 4xx problem with a hint: no 5xx, no panic.

use contracts::TopicRole;
use reqwest::{Method, StatusCode};
use serde_json::json;
use store::{List, PageCursor};

use crate::support::{ADMIN, TestServer, png, problem};

#[tokio::test]
async fn bad_parameters_are_refused_with_a_hint() {
    let server = TestServer::start().await;
    let filters: Vec<String> = (0..17).map(|number| format!("attributes.a{number}=1")).collect();
    let many_filters = format!("/v1/detections?{}", filters.join("&"));
    let long_value = format!("/v1/detections?attributes.a={}", "x".repeat(257));
    for (method, path, hint) in [
        ("POST", "/v1/frames?stream=a%20b", "A-Z a-z 0-9"),
        ("POST", "/v1/frames?stream=", "1 to 64"),
        ("POST", "/v1/frames?strem=a", "the parameters are captured_at, stream, detectors"),
        ("POST", "/v1/frames?stream=a&stream=b", "stream is given twice"),
        ("POST", "/v1/frames?captured_at=yesterday", "2026-01-02T03:04:05Z"),
        ("POST", "/v1/frames?captured_at=2026-01-02T03:04:05+01:00", "%2B"),
        ("POST", "/v1/frames?captured_at=-004004-01-01T00:00:00Z", "captured_at"),
        ("POST", "/v1/frames?captured_at=2100-01-01T00:00:00Z", "clocks may be ahead by at most 1h"),
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
        ("GET", "/v1/detections?attributes.Colour=red", "attributes.Colour: the name of an attribute must be"),
        ("GET", "/v1/detections?attributes.=red", "1 to 32 characters"),
        ("GET", "/v1/detections?attributes.year=new", "attributes.year must be a whole number"),
        ("GET", "/v1/detections?attributes.a=1&attributes.a=1", "attributes.a is given twice"),
        ("GET", &many_filters, "at most 16 parameters attributes.NAME"),
        ("GET", &long_value, "attributes.a must have at most 256 bytes"),
        ("GET", "/v1/detections?attributes=red", "min_confidence, attributes.NAME"),
        ("GET", "/v1/frames?attributes.colour=red", "there is no parameter"),
        ("GET", "/v1/stats?attributes.colour=red", "there is no parameter"),
        ("GET", "/v1/alerts/history?attributes.colour=red", "there is no parameter"),
        ("GET", "/detections?attributes.colour=red", "there is no parameter"),
        ("GET", "/v1/stats?group_by=colour", "must be make, model"),
        ("GET", "/v1/stats?group_by=attributes.", "group_by: attributes.: the name"),
        ("GET", "/v1/stats?group_by=attributes.a-b", "group_by: attributes.a-b: the name"),
        ("GET", "/v1/stats?group_by=", "or attributes.NAME"),
        ("GET", "/v1/alerts/history?rule=", "1 to 128"),
        ("GET", "/v1/rules/17", "UUID"),
        ("DELETE", "/v1/rules/17", "UUID"),
        ("GET", "/v1/rules?limit=5", "no parameters"),
        ("GET", "/v1/streams?limit=0", "1 to 1000"),
        ("GET", "/v1/streams?cursor=abc", "next_cursor"),
        ("GET", "/v1/streams?stream=a", "the parameters are cursor, limit"),
        ("GET", "/v1/streams/a%20b", "A-Z a-z 0-9"),
        ("DELETE", "/v1/streams/a%2Fb", "A-Z a-z 0-9"),
        ("GET", "/detections?skip=-1", "from 0"),
        ("GET", "/detections?limit=0", "1 to 1000"),
        ("GET", "/stats?group_by=make", "no parameters"),
    ] {
        let request = server.request(method.parse().unwrap(), path).header("content-type", "image/png");
        let body = if method == "POST" { png(9, 9, 90) } else { Vec::new() };
        let (status, code, detail) = problem(request.body(body).send().await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"), "{path}: {detail}");
        assert!(detail.contains(hint), "{path}: {detail}");
    }
}

#[tokio::test]
async fn an_unknown_detector_has_a_code_of_its_own() {
    let server = TestServer::start().await;
    for (path, name) in [("/v1/frames?detectors=face,nose", "nose"), ("/v1/frames?detectors=", "")] {
        let request = server.request(Method::POST, path).header("content-type", "image/png").body(png(9, 9, 90));
        let (status, code, detail) = problem(request.send().await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "unknown_detector"), "{path}");
        assert_eq!(detail, format!("detectors: there is no {name:?}; the detectors are face"));
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let server = TestServer::start().await;
    let lists = [
        ("/v1/frames", List::Frames),
        ("/v1/detections", List::Detections),
        ("/v1/alerts/history", List::Alerts),
        ("/v1/streams", List::Streams),
        ("/v1/users", List::Users),
        ("/v1/audit", List::Audit),
    ];
    let position =
        PageCursor { at: jiff::Timestamp::UNIX_EPOCH, id: "00000000-0000-7000-8000-000000000000".to_owned() };
    for (path, own) in lists {
        for (_, list) in lists {
            let response = server.get_as(ADMIN, &format!("{path}?cursor={}", position.encode(list))).await;
            if list == own {
                assert_eq!(response.status(), StatusCode::OK, "{path}");
                continue;
            }
            let (status, code, detail) = problem(response).await;
            assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"), "{path} {list:?}");
            assert!(detail.contains("another list"), "{path} {list:?}: {detail}");
        }
    }
}

#[tokio::test]
async fn bad_json_is_refused_with_a_hint() {
    let server = TestServer::start().await;
    let wide = json!({"label": "x", "box": {"x": 1e9, "y": 0, "width": 1, "height": 1}}).to_string();
    let negative = json!({"label": "x", "box": {"x": 0, "y": 0, "width": -1, "height": 1}}).to_string();
    for (path, body, status, hint) in [
        ("/v1/detections", "", 400, "empty"),
        ("/v1/detections", "{", 400, "not JSON"),
        ("/v1/detections", r#"{"label": "x", "confidence": NaN}"#, 400, "not JSON"),
        ("/v1/detections", r#"{"label": "x", "box": {"x": NaN}}"#, 400, "not JSON"),
        ("/v1/detections", r#"{"label": "x", "confidence": 1e999}"#, 422, "a number is too large"),
        ("/v1/detections", "{}", 422, "label"),
        ("/v1/detections", "[]", 422, "object"),
        ("/v1/detections", r#"{"label": ""}"#, 422, "1 to 64"),
        ("/v1/detections", r#"{"label": "a\u0000b"}"#, 422, "no control characters"),
        ("/v1/detections", r#"{"label": "a\nb"}"#, 422, "no control characters"),
        ("/v1/detections", r#"{"label": "x", "attributes": {"a": 1, "a": 2}}"#, 422, "attributes.a is given twice"),
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
        ("/v1/rules", r#"{"name": "a\nb", "condition": "true"}"#, 422, "no control characters"),
        ("/v1/rules", r#"{"name": "r", "condition": "label == \"a\" \u0000\n"}"#, 422, r#"unexpected "\0""#),
        ("/v1/rules", r#"{"name": "r", "condition": "label == 'a\nb'"}"#, 422, "not valid CEL"),
        ("/v1/rules", r#"{"name": "r"}"#, 422, "condition"),
    ] {
        let request = server.request(Method::POST, path).header("content-type", "application/json");
        let (got, _, detail) = problem(request.body(body.to_owned()).send().await.unwrap()).await;
        assert_eq!(got.as_u16(), status, "{body}: {detail}");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    let text = server.request(Method::POST, "/v1/detections").header("content-type", "text/plain").body("{}");
    assert_eq!(problem(text.send().await.unwrap()).await.1, "unsupported_media_type");
    let long = format!(r#"{{"label": "{}"}}"#, "x".repeat(300_000));
    let long = server.request(Method::POST, "/v1/detections").header("content-type", "application/json").body(long);
    assert_eq!(problem(long.send().await.unwrap()).await.1, "too_large");
    assert_eq!(server.message_count(TopicRole::Results).await, 0);
}

#[tokio::test]
async fn unknown_paths_and_methods_get_problem_responses() {
    let server = TestServer::start().await;
    for path in ["/v1", "/v2/frames", "/v1/frames/", "/v1/frames/a/b", "/../etc/passwd", "/%00", "/v1/frames%2F17"] {
        let (status, code, _) = problem(server.get_as(ADMIN, path).await).await;
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
        let response = server.request(method.parse().unwrap(), path).send().await.unwrap();
        let allow = response.headers()["allow"].to_str().unwrap().to_owned();
        let (status, code, _) = problem(response).await;
        assert_eq!((status.as_u16(), code.as_str()), (405, "method_not_allowed"), "{method} {path}");
        assert!(allowed.iter().all(|name| allow.contains(name)), "{method} {path}: {allow}");
    }
}

#[tokio::test]
async fn problem_details_never_quote_a_library() {
    let server = TestServer::start().await;
    let json = |path: &str, body: &str| {
        let request = server.request(Method::POST, path).header("content-type", "application/json");
        request.body(body.to_owned()).send()
    };
    let form = server.request(Method::POST, "/v1/frames").header("content-type", "multipart/form-data; boundary=b");
    for response in [
        json("/v1/detections", r#"{"label": 5}"#).await,
        json("/v1/detections", r#"{"label": "x", "captured_at": "2026-13-01T00:00:00Z"}"#).await,
        json("/v1/rules", r#"{"name": "r", "condition": "label =="}"#).await,
        json("/v1/rules", r#"{"name": "r", "condition": "1 / 0 == 1"}"#).await,
        form.body("--b\r\nnonsense\r\n\r\n").send().await,
        server.request(Method::GET, "/v1/frames?x=1").send().await,
    ] {
        let (_, _, detail) = problem(response.unwrap()).await;
        for word in [" expected", "invalid type", "deserialize", "`", "mismatched", "EOF", "parse", "Int(", "headers"] {
            assert!(!detail.contains(word), "{detail}");
        }
    }
}

#[tokio::test]
async fn no_query_string_causes_a_5xx() {
    let server = TestServer::start().await;
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
        "attributes.colour",
        "attributes.year",
        "attributes.x'",
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
        "attributes.colour",
        "attributes.x'",
        "MS4wLmE",
        "MS45MjIzMzcyMDM2ODU0Nzc1ODA3LmE",
        "1;2",
        "&",
        "=",
        "\u{fc}",
        "0.5",
        "+",
    ];
    // A fixed xorshift generator: the same requests on every run.
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
        let response = server.get_as(ADMIN, &target).await;
        assert!(response.status().as_u16() < 500, "{target}: {}", response.text().await.unwrap());
    }
}
