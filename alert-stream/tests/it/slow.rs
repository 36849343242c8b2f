//! A client that does not keep up is disconnected; other clients are not affected.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{SseClient, TIMEOUT, request};
use crate::test_stream::{ADMIN, TestStream, alert};

/// A client that sends its request and reads nothing after the status.
async fn lazy(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v1/alerts HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {ADMIN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

/// Alerts of 16 KiB, to exceed the buffers of a connection.
fn heavy(count: u128) -> Vec<contracts::AlertEvent> {
    let heavy = |number| {
        let mut alert = alert(number);
        alert.data.rule = "x".repeat(16 << 10);
        alert
    };
    (0..count).map(heavy).collect()
}

#[tokio::test]
async fn a_client_behind_the_window_is_disconnected() {
    let test = TestStream::new();
    let replica = test.replica(&["--alert-window", "50"]).await;
    let mut slow = lazy(replica.address).await;
    let mut fast = SseClient::listen(replica.address, ADMIN).await;
    for part in heavy(1_500).chunks(20) {
        test.publish(part.to_vec()).await;
        // The fast client reads each part before the next is published.
        fast.numbers(part.len()).await;
    }
    let mut rest = Vec::new();
    tokio::time::timeout(TIMEOUT, slow.read_to_end(&mut rest)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&rest);
    let last_event = text.rsplit("event: ").next().unwrap();
    assert!(last_event.starts_with("slow\n"), "{}", &last_event[..last_event.len().min(200)]);
    assert!(text.matches("event: alert").count() < 1_500);
    replica.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_frees_its_slot() {
    let test = TestStream::new();
    let replica = test
        .replica(&["--alert-subscribers", "1", "--alert-stall-seconds", "1", "--alert-heartbeat-seconds", "1"])
        .await;
    let stuck = lazy(replica.address).await;
    test.publish(heavy(1_500)).await;
    let started = Instant::now();
    loop {
        let response = request(replica.address, "/v1/alerts", ADMIN).send().await.unwrap();
        if response.status() == 200 {
            break;
        }
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        assert!(started.elapsed() < TIMEOUT, "the stuck client still has its slot");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    drop(stuck);
    replica.stop().await;
}
