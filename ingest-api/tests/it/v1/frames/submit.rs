//! `POST /v1/frames`.

use contracts::api::FrameAccepted;
use contracts::{BlobKind, Event, FrameContent, FrameEvent, FrameId, TopicRole};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};

use crate::support::{ADMIN, OTHER, READER, TestServer, jpeg, png, problem, result_of};

async fn accepted(response: reqwest::Response) -> FrameAccepted {
    let status = response.status();
    let body = response.text().await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn an_accepted_frame_is_published_unchanged() {
    let server = TestServer::start().await;
    let image = jpeg(640, 480, 70_000);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let response = server
        .request(Method::POST, "/v1/frames?stream=gate-1&captured_at=2026-01-02T03:04:05Z&detectors=face")
        .header("content-type", "image/jpeg")
        .header("traceparent", trace)
        .body(image.clone())
        .send()
        .await
        .unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(response.headers().contains_key("x-request-id"));
    let body = accepted(response).await;
    assert_eq!(location, format!("/v1/frames/{}", body.frame_id));
    assert_eq!(body.results_url, location);

    let event = FrameEvent::from_message(&server.message(TopicRole::Frames, 0).await).unwrap();
    assert_eq!(event.id, body.frame_id);
    assert_eq!(event.stream.unwrap().as_str(), "gate-1");
    assert_eq!(event.captured_at.to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(event.detectors, body.detectors);
    assert_eq!(event.content_type, "image/jpeg");
    assert_eq!(event.traceparent.as_deref(), Some(trace));
    assert_eq!(event.reply_to, None);
    assert_eq!(event.content, FrameContent::Inline(image.into()));
    server.stop().await;
}

#[tokio::test]
async fn a_message_has_no_traceparent_unless_the_client_sent_a_valid_one() {
    let server = TestServer::start().await;
    accepted(server.post_image("/v1/frames", png(9, 9, 90)).send().await.unwrap()).await;
    let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    let malformed = server.post_image("/v1/frames", png(9, 9, 90)).header("traceparent", zeros);
    accepted(malformed.send().await.unwrap()).await;
    for number in [0, 1] {
        let message = server.message(TopicRole::Frames, number).await;
        assert_eq!(message.headers.get("ce_traceparent"), None, "{number}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_frame_has_the_same_time_everywhere() {
    for path in ["/v1/frames?captured_at=2026-01-02T03:04:05.123456789Z", "/v1/frames"] {
        let server = TestServer::start().await;
        let body = accepted(server.post_image(path, png(9, 9, 90)).send().await.unwrap()).await;
        let event = FrameEvent::from_message(&server.message(TopicRole::Frames, 0).await).unwrap();
        assert_eq!(body.captured_at, Some(event.captured_at));
        let mut result = result_of(event.id, Vec::new());
        result.data.captured_at = event.captured_at;
        server.index(result).await;
        let stored = server.get(&body.results_url).await;
        assert_eq!(stored["captured_at"], serde_json::to_value(body.captured_at).unwrap(), "{path}");
        server.stop().await;
    }
}

#[tokio::test]
async fn other_names_of_a_type_and_no_type_are_accepted() {
    let server = TestServer::start().await;
    let (jpeg, png) = (jpeg(64, 48, 900), png(64, 48, 900));
    for (number, (declared, image, media_type)) in [
        ("image/jpg", &jpeg, "image/jpeg"),
        ("image/pjpeg", &jpeg, "image/jpeg"),
        ("image/x-png", &png, "image/png"),
        ("application/octet-stream", &png, "image/png"),
        ("", &jpeg, "image/jpeg"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = server.request(Method::POST, "/v1/frames?stream=gate-1").header("content-type", declared);
        let body = accepted(request.body(image.clone()).send().await.unwrap()).await;
        let event = FrameEvent::from_message(&server.message(TopicRole::Frames, number).await).unwrap();
        assert_eq!((event.id, event.content_type.as_str()), (body.frame_id, media_type), "{declared:?}");
    }
}

#[tokio::test]
async fn a_large_frame_goes_to_the_blob_store() {
    let server = TestServer::start().await;
    let image = png(2000, 1000, (1 << 20) + 1);
    let body = accepted(server.post_image("/v1/frames", image.clone()).send().await.unwrap()).await;
    let event = FrameEvent::from_message(&server.message(TopicRole::Frames, 0).await).unwrap();
    let FrameContent::Blob(key) = event.content else { panic!("it is in the message") };
    assert!(key.is_of(BlobKind::Inbox, &event.tenant, body.frame_id), "{key}");
    assert_eq!(server.deps.blobs.get(&key).await.unwrap().unwrap(), image);
}

#[tokio::test]
async fn the_bytes_decide_if_no_type_is_declared() {
    let server = TestServer::start().await;
    for (media_type, image, kind) in [
        (None, png(9, 9, 90), "image/png"),
        (Some(""), jpeg(9, 9, 90), "image/jpeg"),
        (Some("application/octet-stream"), png(9, 9, 90), "image/png"),
        (Some("binary/octet-stream"), jpeg(9, 9, 90), "image/jpeg"),
        (Some("image/jpg"), jpeg(9, 9, 90), "image/jpeg"),
        (Some("image/pjpeg"), jpeg(9, 9, 90), "image/jpeg"),
        (Some("image/x-png"), png(9, 9, 90), "image/png"),
    ] {
        let count = usize::try_from(server.message_count(TopicRole::Frames).await).unwrap();
        let request = server.request(Method::POST, "/v1/frames?stream=types").body(image.clone());
        let request = match media_type {
            Some(media_type) => request.header("content-type", media_type),
            None => request,
        };
        accepted(request.send().await.unwrap()).await;
        let event = FrameEvent::from_message(&server.message(TopicRole::Frames, count).await).unwrap();
        assert_eq!(event.content_type, kind, "{media_type:?}");
        if let Some(media_type) = media_type.filter(|media_type| !media_type.is_empty()) {
            let part = Part::bytes(image).mime_str(media_type).unwrap();
            let form =
                server.request(Method::POST, "/v1/frames?stream=types").multipart(Form::new().part("file", part));
            accepted(form.send().await.unwrap()).await;
        }
    }
}

#[tokio::test]
async fn a_form_with_an_unquoted_boundary_is_accepted() {
    let server = TestServer::start().await;
    let head = b"--==17==\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n";
    let body = [&head[..], &png(9, 9, 90), b"\r\n--==17==--\r\n"].concat();
    let request = server.request(Method::POST, "/v1/frames").body(body);
    accepted(request.header("content-type", "multipart/form-data; boundary===17==").send().await.unwrap()).await;
}

#[tokio::test]
async fn multipart_is_accepted_with_the_image_in_any_part() {
    let server = TestServer::start().await;
    for (number, (field, media_type)) in
        [("file", Some("image/jpeg")), ("image", None), ("frame", Some("application/octet-stream"))]
            .into_iter()
            .enumerate()
    {
        let image = jpeg(640, 480, 100_000 + number);
        let part = Part::bytes(image.clone()).file_name("a.jpg");
        let part = match media_type {
            Some(media_type) => part.mime_str(media_type).unwrap(),
            None => part,
        };
        let form = Form::new().text("note", "x".repeat(1000)).part(field, part);
        let response = server.request(Method::POST, "/v1/frames").multipart(form).send().await.unwrap();
        let body = accepted(response).await;
        let mut found = None;
        for skip in 0..=number {
            let event = FrameEvent::from_message(&server.message(TopicRole::Frames, skip).await).unwrap();
            found = found.or_else(|| (event.id == body.frame_id).then_some(event));
        }
        assert_eq!(found.unwrap().content, FrameContent::Inline(image.into()), "{field}");
    }
}

#[tokio::test]
async fn a_form_without_exactly_one_image_is_refused() {
    let server = TestServer::start().await;
    let image = || Part::bytes(jpeg(640, 480, 5000)).file_name("a.jpg");
    for (form, status, code) in [
        (Form::new().text("note", "hello"), 422, "invalid"),
        (Form::new().part("file", image()).part("image", image()), 422, "invalid"),
        (Form::new().part("file", image().mime_str("image/png").unwrap()), 415, "unsupported_media_type"),
        (Form::new().part("file", image().mime_str("text/html").unwrap()), 415, "unsupported_media_type"),
        (Form::new().part("file", Part::bytes(b"GIF89a".to_vec())), 415, "unsupported_media_type"),
        (Form::new().part("file", Part::bytes(png(60_000, 60_000, 500))), 422, "image_too_large"),
        (Form::new().part("file", Part::bytes(Vec::new())), 422, "empty_body"),
        (Form::new().part("file", Part::bytes(png(10, 10, (8 << 20) + 1))), 413, "too_large"),
        (Form::new().part("file", Part::bytes(png(10, 10, 9 << 20))), 413, "too_large"),
    ] {
        let response = server.request(Method::POST, "/v1/frames").multipart(form).send().await.unwrap();
        let (got, got_code, detail) = problem(response).await;
        assert_eq!((got.as_u16(), got_code.as_str()), (status, code), "{detail}");
    }
    for (media_type, body, status) in [
        ("multipart/form-data", "x", 415),
        ("multipart/form-data; boundary=b", "", 400),
        ("multipart/form-data; boundary=b", "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n\u{1}", 400),
        ("multipart/form-data; boundary=b", "--b\r\nnonsense\r\n\r\n", 400),
    ] {
        let request = server.request(Method::POST, "/v1/frames").header("content-type", media_type).body(body);
        let (got, _, detail) = problem(request.send().await.unwrap()).await;
        assert_eq!(got.as_u16(), status, "{media_type} {body}: {detail}");
    }
    assert_eq!(server.message_count(TopicRole::Frames).await, 0);
}

#[tokio::test]
async fn an_idempotency_key_identifies_one_frame_per_tenant() {
    let server = TestServer::start().await;
    let send = |token: &str, key: &str| {
        let request = server.request_as(token, Method::POST, "/v1/frames").header("content-type", "image/png");
        request.body(png(64, 64, 2000)).header("idempotency-key", key).send()
    };
    let first = accepted(send(ADMIN, "a").await.unwrap()).await;
    assert_eq!(accepted(send(ADMIN, "a").await.unwrap()).await.frame_id, first.frame_id);
    assert_ne!(accepted(send(ADMIN, "b").await.unwrap()).await.frame_id, first.frame_id);
    assert_ne!(accepted(send(OTHER, "a").await.unwrap()).await.frame_id, first.frame_id);
    assert_eq!(first.frame_id, FrameId::from_idempotency_key(&contracts::TenantId::admin(), "a").unwrap());
    let (status, _, detail) = problem(send(ADMIN, "ü").await.unwrap()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{detail}");
}

#[tokio::test]
async fn a_reused_key_with_another_frame_is_refused() {
    let server = TestServer::start().await;
    let send = |query: &str, image: Vec<u8>| {
        server.post_image(&format!("/v1/frames{query}"), image).header("idempotency-key", "k")
    };
    let image = || png(64, 64, 2000);
    accepted(send("?stream=a", image()).send().await.unwrap()).await;
    accepted(send("?stream=a", image()).send().await.unwrap()).await;
    for request in [
        send("?stream=a", png(64, 64, 2001)),
        send("?stream=b", image()),
        send("?stream=a&detectors=face", image()),
        send("?stream=a&captured_at=2026-01-02T03:04:05Z", image()).header("prefer", "wait=5"),
        server
            .request(Method::POST, "/v1/detections")
            .header("idempotency-key", "k")
            .json(&serde_json::json!({"label": "x"})),
    ] {
        let (status, code, _) = problem(request.send().await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
    }
    assert_eq!(server.message_count(TopicRole::Frames).await, 2);
    assert_eq!(server.message_count(TopicRole::Results).await, 0);
}

#[tokio::test]
async fn a_repeat_omits_an_unknown_capture_time() {
    let server = TestServer::start().await;
    let without_key = accepted(server.post_image("/v1/frames", png(64, 64, 2000)).send().await.unwrap()).await;
    assert!(without_key.captured_at.is_some());
    let keyed = |query: &str, key: &str| {
        server.post_image(&format!("/v1/frames{query}"), png(64, 64, 2000)).header("idempotency-key", key).send()
    };
    assert_eq!(accepted(keyed("", "k").await.unwrap()).await.captured_at, None);
    let with_time = accepted(keyed("?captured_at=2026-01-02T03:04:05Z", "l").await.unwrap()).await;
    assert_eq!(with_time.captured_at.unwrap().to_string(), "2026-01-02T03:04:05Z");
}

#[tokio::test]
async fn only_callers_with_frames_write_send_frames() {
    let server = TestServer::start().await;
    let plain = server.client.post(format!("http://{}/v1/frames", server.address));
    let response = plain.header("content-type", "image/png").body(png(9, 9, 90)).send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(problem(response).await.0, StatusCode::UNAUTHORIZED);

    let url = format!("http://{}/v1/frames", server.address);
    let response = server.client.post(&url).bearer_auth("guess").body(png(9, 9, 90)).send().await.unwrap();
    assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    assert_eq!(problem(response).await.1, "invalid_token");

    let response = server.client.post(&url).bearer_auth(READER).body(png(9, 9, 90)).send().await.unwrap();
    assert_eq!(problem(response).await.1, "forbidden");
    assert_eq!(server.message_count(TopicRole::Frames).await, 0);

    let sent = server.client.post(&url).bearer_auth(OTHER).header("content-type", "image/png").body(png(9, 9, 90));
    accepted(sent.send().await.unwrap()).await;
    let event = FrameEvent::from_message(&server.message(TopicRole::Frames, 0).await).unwrap();
    let other = server.deps.accounts_service.user_named("other").await.unwrap();
    assert_eq!(event.tenant, other.tenant);
}
