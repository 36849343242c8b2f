//! Too much at once is refused, with a time to try again.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::site::{ADMIN, PATIENCE, Site, png, problem};

#[tokio::test]
async fn bodies_beyond_the_bytes_that_may_be_held_are_refused_until_there_is_room() {
    let site = Site::with(&["--max-frame-bytes", "1000000", "--ingest-bytes-in-flight", "1100000"]).await;
    let mut held = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /v1/frames HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: image/png\r\ncontent-length: 1000000\r\n\r\n"
    );
    held.write_all(&[head.as_bytes(), &png(9, 9, 500)].concat()).await.unwrap();

    let deadline = tokio::time::Instant::now() + PATIENCE;
    let refused = loop {
        let response = site.send("/v1/frames", png(9, 9, 200_000)).send().await.unwrap();
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
        let response = site.send("/v1/frames", png(9, 9, 200_000)).send().await.unwrap();
        if response.status() == StatusCode::ACCEPTED {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the room is not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn frames_are_refused_while_the_workers_are_half_the_retention_behind() {
    let topics = tempfile::NamedTempFile::new().unwrap();
    let text = contracts::topics::DEFAULT.replace("retention: 24h", "retention: 2s");
    std::fs::write(topics.path(), text).unwrap();
    let site = Site::with(&["--topics-file", topics.path().to_str().unwrap()]).await;
    let send = || site.send("/v1/frames", png(9, 9, 2000)).send();
    assert_eq!(send().await.unwrap().status(), StatusCode::ACCEPTED);

    let deadline = tokio::time::Instant::now() + PATIENCE;
    let refused = loop {
        let response = send().await.unwrap();
        if response.status() != StatusCode::ACCEPTED || tokio::time::Instant::now() > deadline {
            break response;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.1, "backlog");

    site.worker();
    while send().await.unwrap().status() != StatusCode::ACCEPTED {
        assert!(tokio::time::Instant::now() < deadline, "frames are not taken again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
