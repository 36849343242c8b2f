//! A service that stops refuses no request: neither on a connection that a client keeps, nor on one that waits to be accepted.

use std::io::{Read, Write};
use std::time::Duration;

use platform::config::HttpArgs;
use platform::http::{Limits, listen, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::test_server::{TIMEOUT, TestServer, plain, routes};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_service_that_leaves_still_serves_and_closes_kept_connections() {
    let settings = HttpArgs { stop_delay: Duration::from_millis(500), ..plain() };
    let mut listener = listen(&settings).await.unwrap();
    let (address, announced) = (listener.local_addr().unwrap(), CancellationToken::new());
    let stop = listener.leave(announced.clone());
    let serving = tokio::spawn(serve(listener, routes(), Limits::default(), stop.clone()));

    let mut kept = TcpStream::connect(address).await.unwrap();
    let before = exchange(&mut kept).await;
    assert!(!before.contains("connection: close"), "{before}");
    announced.cancel();
    assert!(exchange(&mut kept).await.contains("connection: close"));
    assert_eq!(kept.read(&mut [0; 16]).await.unwrap(), 0, "the connection is still open");
    let mut new = TcpStream::connect(address).await.unwrap();
    assert!(exchange(&mut new).await.contains("connection: close"));
    assert!(!stop.is_cancelled());
    tokio::time::timeout(TIMEOUT, serving).await.expect("the service stops").unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is still open");
}

// One thread: the service does not run between the connection and the stop.
#[tokio::test]
async fn a_connection_that_waits_to_be_accepted_is_served() {
    let mut server = TestServer::start(&plain(), Limits::default()).await;
    let mut waiting = std::net::TcpStream::connect(server.address).unwrap();
    waiting.write_all(REQUEST).unwrap();
    server.stop.cancel();
    let reading = tokio::task::spawn_blocking(move || {
        let mut response = String::new();
        waiting.read_to_string(&mut response).unwrap();
        response
    });
    assert!(reading.await.unwrap().starts_with("HTTP/1.1 200"));
    tokio::time::timeout(TIMEOUT, &mut server.serving).await.expect("the service stops").unwrap().unwrap();
}

/// Sends a request and returns the response.
async fn exchange(client: &mut TcpStream) -> String {
    client.write_all(REQUEST).await.unwrap();
    let mut piece = [0; 4096];
    let read = tokio::time::timeout(TIMEOUT, client.read(&mut piece)).await.unwrap().unwrap();
    String::from_utf8_lossy(&piece[..read]).into_owned()
}
