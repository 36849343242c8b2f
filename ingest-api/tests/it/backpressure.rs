//! Load beyond the limits is refused, with a time for the retry.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use testing::eventually;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{ADMIN, OTHER, TIMEOUT, TestServer, png, problem};

/// A frame of a megabyte of the operator, of which only the beginning has been sent.
async fn slow_frame(server: &TestServer) -> TcpStream {
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/frames HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: image/png\r\ncontent-length: 1000000\r\n\r\n"
    );
    client.write_all(&[head.as_bytes(), &png(9, 9, 500)].concat()).await.unwrap();
    client
}

#[tokio::test]
async fn bodies_beyond_the_byte_budget_get_503() {
    let server = TestServer::with_flags(&["--max-frame-bytes", "1000000", "--ingest-bytes-in-flight", "1100000"]).await;
    let held = slow_frame(&server).await;

    // Another user: the operator would have more than a share.
    let send = || {
        let request = server.request_as(OTHER, Method::POST, "/v1/frames").header("content-type", "image/png");
        request.body(png(9, 9, 200_000)).send()
    };
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    let refused = loop {
        let response = send().await.unwrap();
        if response.status() != StatusCode::ACCEPTED || tokio::time::Instant::now() > deadline {
            break response;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(refused.headers().contains_key("retry-after"));
    let (status, code, _) = problem(refused).await;
    assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));

    drop(held);
    loop {
        let response = send().await.unwrap();
        if response.status() == StatusCode::ACCEPTED {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the bytes are not released");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn slow_bodies_of_one_user_leave_room_for_others() {
    let server = TestServer::with_flags(&["--max-frame-bytes", "1000000", "--ingest-bytes-in-flight", "4300000"]).await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(slow_frame(&server).await);
    }
    let send = |token: &'static str| {
        let request = server.request_as(token, Method::POST, "/v1/frames").header("content-type", "image/png");
        request.body(png(9, 9, 400_000)).send()
    };
    let busy = async || send(ADMIN).await.unwrap().status() == StatusCode::TOO_MANY_REQUESTS;
    eventually("the slow frames have the share of their user", busy).await;

    assert_eq!(send(OTHER).await.unwrap().status(), StatusCode::ACCEPTED);
    let (_, code, detail) = problem(send(ADMIN).await.unwrap()).await;
    assert!(code == "share_in_use" && detail.contains("same user"), "{code}: {detail}");

    drop(slow);
    eventually("their bytes are free", async || send(ADMIN).await.unwrap().status() == StatusCode::ACCEPTED).await;
}

#[tokio::test]
async fn frames_are_refused_before_a_partition_could_drop_them() {
    let topics = tempfile::NamedTempFile::new().unwrap();
    let text = contracts::topics::DEFAULT.replace("retention_bytes: 2GiB", "retention_bytes: 12MB");
    std::fs::write(topics.path(), text).unwrap();
    let server = TestServer::with_flags(&["--topics-file", topics.path().to_str().unwrap()]).await;
    let send = || server.post_image("/v1/frames?stream=gate", png(9, 9, 400_000)).send();
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    let mut accepted = 0;
    let refused = loop {
        let response = send().await.unwrap();
        if response.status() != StatusCode::ACCEPTED || tokio::time::Instant::now() > deadline {
            break response;
        }
        accepted += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(problem(refused).await.1, "backlog");
    // Half of the limit are 15 frames; the backlog is measured twice a second.
    assert!((15..45).contains(&accepted), "{accepted}");

    server.spawn_worker();
    while send().await.unwrap().status() != StatusCode::ACCEPTED {
        assert!(tokio::time::Instant::now() < deadline, "frames are still refused");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn frames_are_refused_while_the_backlog_is_too_old() {
    let topics = tempfile::NamedTempFile::new().unwrap();
    let text = contracts::topics::DEFAULT.replace("retention: 24h", "retention: 2s");
    std::fs::write(topics.path(), text).unwrap();
    let server = TestServer::with_flags(&["--topics-file", topics.path().to_str().unwrap()]).await;
    let send = || server.post_image("/v1/frames", png(9, 9, 2000)).send();
    assert_eq!(send().await.unwrap().status(), StatusCode::ACCEPTED);

    let deadline = tokio::time::Instant::now() + TIMEOUT;
    let refused = loop {
        let response = send().await.unwrap();
        if response.status() != StatusCode::ACCEPTED || tokio::time::Instant::now() > deadline {
            break response;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.1, "backlog");

    server.spawn_worker();
    while send().await.unwrap().status() != StatusCode::ACCEPTED {
        assert!(tokio::time::Instant::now() < deadline, "frames are still refused");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
