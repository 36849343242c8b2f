//! Slow clients, oversized requests, too many connections.

use std::time::{Duration, Instant};

use platform::http::{Limits, MinRate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::test_server::{TIMEOUT, TestServer, plain};

const SOON: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_slow_head_times_out() {
    let server = TestServer::start(&plain(), Limits { head: SOON, ..Limits::default() }).await;
    for drip in [&b""[..], b"x"] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        closed_while_sending(client, drip).await;
    }
    let silent = TcpStream::connect(server.address).await.unwrap();
    closed_while_sending(silent, b"").await;
}

#[tokio::test]
async fn a_slow_body_times_out_with_a_problem() {
    let body = MinRate { grace: SOON, bytes_per_second: 1024 };
    let server = TestServer::start(&plain(), Limits { body, ..Limits::default() }).await;
    for drip in [&b""[..], b"x"] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
        let response = closed_while_sending(client, drip).await;
        assert!(response.starts_with("HTTP/1.1 408") && response.contains("slow_upload"), "{response}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = TestServer::start(&plain(), Limits { buffer: 16 << 10, ..Limits::default() }).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = |bytes: usize| client.get(server.url("http", "/")).header("x-long", "x".repeat(bytes)).send();
    assert_eq!(answer(8 << 10).await.unwrap().status(), 200);
    assert_eq!(answer(20 << 10).await.unwrap().status(), 431);
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_another_to_close() {
    let limits = Limits { connections: 1, head: TIMEOUT, ..Limits::default() };
    let server = TestServer::start(&plain(), limits).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let mut first = with_request(first).await;
    assert!(is_answered(&mut first, TIMEOUT).await);
    let mut second = with_request(TcpStream::connect(server.address).await.unwrap()).await;
    assert!(!is_answered(&mut second, SOON).await, "both were served at once");
    drop(first);
    assert!(is_answered(&mut second, TIMEOUT).await);
}

#[tokio::test]
async fn a_stop_works_while_all_permits_are_in_use() {
    let limits = Limits { connections: 1, head: TIMEOUT * 2, drain: SOON, ..Limits::default() };
    let mut server = TestServer::start(&plain(), limits).await;
    let mut first = with_request(TcpStream::connect(server.address).await.unwrap()).await;
    assert!(is_answered(&mut first, TIMEOUT).await);
    server.stop.cancel();
    tokio::time::timeout(TIMEOUT, &mut server.serving).await.expect("the service stops").unwrap().unwrap();
}

/// Sends `bytes` repeatedly until the service closes the connection. Returns the response.
async fn closed_while_sending(mut client: TcpStream, bytes: &[u8]) -> String {
    let (started, mut received) = (Instant::now(), Vec::new());
    let mut piece = [0; 1024];
    loop {
        assert!(started.elapsed() < TIMEOUT, "the connection is still open");
        match tokio::time::timeout(Duration::from_millis(50), client.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => received.extend_from_slice(&piece[..read]),
            // It may have been closed in the meantime; the next read reports that.
            Err(_) => drop(client.write_all(bytes).await),
        }
    }
    assert!(started.elapsed() >= SOON / 2, "closed too early");
    String::from_utf8(received).unwrap()
}

async fn with_request(mut client: TcpStream) -> TcpStream {
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    client
}

async fn is_answered(client: &mut TcpStream, within: Duration) -> bool {
    let mut piece = [0; 1024];
    matches!(tokio::time::timeout(within, client.read(&mut piece)).await, Ok(Ok(read)) if read > 0)
}
